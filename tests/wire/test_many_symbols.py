"""Many symbols at once: one burst of klines, one listing, one window of funding, and no symbol in another's way."""

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path

import pytest

from tests.wire.fakes import FakeClock, Reply, scripted
from tests.wire.test_market_data import CLOSE, HOUR, LIMIT, SYMBOL, TIERS, kline, milliseconds
from trader.domain.interval import Interval
from trader.errors import DataError, ExchangeError, Rejected

HOURLY = Interval.parse("1h")
NAMES = [f"S{number:02}USDT" for number in range(20)]


def rows(count: int, *, back: int = 0, skip: int | None = None) -> Reply:
    """The last klines up to a close, and the one that is open."""
    opens = [milliseconds(CLOSE) - hours * HOUR for hours in range(back, count + 1) if hours != skip]
    return Reply([kline(opened, HOUR, 0.5) for opened in sorted(opens)])


def burst(*replies: object, clock: FakeClock | None = None):
    """A gateway whose requests come one by one, in the order of the symbols."""
    gateway, session, clock = scripted(*replies, clock=clock or FakeClock(CLOSE))
    gateway._calls._parallel = 1
    return gateway, session, clock


async def test_a_young_symbol_comes_with_what_it_has_lived() -> None:
    gateway, _, _ = burst(rows(5), rows(2))
    frame, left_out = await gateway.candles(NAMES[:2], HOURLY, 5, least=1)
    assert left_out == {}
    assert dict(frame.group_by("symbol").len().iter_rows()) == {NAMES[0]: 5, NAMES[1]: 2}


async def test_one_that_is_younger_than_the_least_is_left_out_by_name() -> None:
    gateway, _, _ = burst(rows(5), rows(2))
    frame, left_out = await gateway.candles(NAMES[:2], HOURLY, 5, least=3)
    assert frame["symbol"].unique().to_list() == NAMES[:1]
    assert "has 2 of 5 whole 1h candles of S01USDT" in left_out[NAMES[1]]


@pytest.mark.fault(64, 65, 68)
@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (rows(5, skip=3), "the candle of 2024-03-05T14:00Z follows a gap"),
        (Reply([[1, 2, 3]]), "a row that is not a 1h kline"),
        (Reply([*json.loads(rows(5).text_body)[:1], *json.loads(rows(5).text_body)]), "repeats the candle before it"),
        (Reply("", 400), ""),
    ],
)
async def test_what_cannot_be_used_of_one_symbol_leaves_out_that_one(reply: Reply, why: str) -> None:
    gateway, _, _ = burst(rows(5), reply, rows(5))
    frame, left_out = await gateway.candles(NAMES[:3], HOURLY, 5, least=1)
    assert frame["symbol"].unique().sort().to_list() == [NAMES[0], NAMES[2]]
    assert list(left_out) == [NAMES[1]]
    assert why in left_out[NAMES[1]]


@pytest.mark.fault(63)
async def test_a_symbol_whose_candle_comes_late_is_asked_for_again() -> None:
    gateway, session, clock = burst(rows(5), rows(6, back=1), rows(5))
    frame, left_out = await gateway.candles(NAMES[:2], HOURLY, 5, least=1)
    assert left_out == {}
    assert frame.height == 10
    assert len(session.requests) == 3
    assert clock.time - CLOSE == dt.timedelta(seconds=1)


async def test_one_that_never_comes_is_left_out_in_the_end() -> None:
    gateway, _, _ = burst(rows(5), *[rows(6, back=1)] * 3)
    _, left_out = await gateway.candles(NAMES[:2], HOURLY, 5, least=1)
    assert list(left_out) == [NAMES[1]]
    assert "no 1h candle of S01USDT" in left_out[NAMES[1]]


async def test_where_more_than_one_in_ten_fails_it_is_the_exchange_that_does() -> None:
    gateway, session, _ = burst(*[rows(5)] * 2, *[Reply("", 400)] * 3)
    with pytest.raises(Rejected):
        await gateway.candles(NAMES, HOURLY, 5, least=1)
    assert len(session.requests) == 5


async def test_where_nothing_can_be_used_nothing_is_told() -> None:
    gateway, _, _ = burst(*[rows(5, skip=3)] * 2)
    with pytest.raises(DataError, match="follows a gap"):
        await gateway.candles(NAMES[:2], HOURLY, 5, least=1)


async def test_the_listing_names_whose_rules_cannot_be_used() -> None:
    symbols = [SYMBOL, SYMBOL | {"symbol": "XRPUSDT"}, SYMBOL | {"symbol": "BTCUSDT", "filters": []}]
    symbols.append(SYMBOL | {"symbol": "OLDUSDT", "status": "SETTLING"})
    quarter = SYMBOL | {"symbol": "ADAUSDT_240628", "contractType": "CURRENT_QUARTER"}
    tiers = [*TIERS, TIERS[0] | {"symbol": "BTCUSDT"}]
    gateway, _, _ = scripted(Reply({"rateLimits": [LIMIT], "symbols": [*symbols, quarter]}), Reply(tiers))
    found, unusable = await gateway.listed()
    assert list(found) == ["ADAUSDT"]
    assert list(unusable) == ["XRPUSDT", "BTCUSDT"]
    assert "does not tell about XRPUSDT" in unusable["XRPUSDT"]
    assert "LOT_SIZE" in unusable["BTCUSDT"]


async def test_a_listing_without_a_usable_symbol_is_an_error() -> None:
    gateway, _, _ = scripted(Reply({"rateLimits": [LIMIT], "symbols": [{"symbol": "BROKEN"}]}), Reply(TIERS))
    with pytest.raises(ExchangeError, match="no USDT-margined perpetual that can be used"):
        await gateway.listed()


async def test_begin_and_end_of_a_symbol_are_told_where_they_are_known() -> None:
    moments = {"onboardDate": milliseconds(CLOSE), "deliveryDate": milliseconds(CLOSE) + HOUR}
    ends = SYMBOL | moments | {"status": "SETTLING"}
    never = SYMBOL | {"symbol": "XRPUSDT", "deliveryDate": 4133404800000}
    tiers = [*TIERS, TIERS[0] | {"symbol": "XRPUSDT"}]
    gateway, _, _ = scripted(Reply({"rateLimits": [LIMIT], "symbols": [ends, never]}), Reply(tiers))
    found, _ = await gateway.listed()
    assert (found["ADAUSDT"].begins, found["ADAUSDT"].ends) == (CLOSE, CLOSE + dt.timedelta(hours=1))
    assert (found["XRPUSDT"].begins, found["XRPUSDT"].ends) == (None, None)


@pytest.mark.parametrize("capture", ["exchangeInfo_mainnet_2021-09-06.json", "exchangeInfo_testnet_2025-03-06.json"])
async def test_every_captured_perpetual_that_has_brackets_can_be_listed(shared: Path, capture: str) -> None:
    info = json.loads((shared / "binance" / capture).read_text())
    brackets = json.loads((shared / "binance" / "leverageBracket_2024-10.json").read_text())
    gateway, _, _ = scripted(Reply(info), Reply(brackets))
    found, unusable = await gateway.listed()
    assert len(found) > 100
    assert unusable.keys().isdisjoint(row["symbol"] for row in brackets)


def stamp(symbol: str, hours: int, rate: str = "0.0001") -> dict[str, object]:
    time = milliseconds(CLOSE) - hours * HOUR
    return {"symbol": symbol, "fundingTime": time, "fundingRate": rate, "markPrice": "0.5"}


async def test_funding_of_all_symbols_comes_by_window_with_its_hours() -> None:
    hours = [{"symbol": "XRPUSDT", "fundingIntervalHours": 4}]
    stamps = [stamp("ADAUSDT", 8), stamp("BTCUSDT", 8), stamp("XRPUSDT", 4, "-0.002"), stamp("ADAUSDT", 0)]
    gateway, session, _ = scripted(Reply(hours), Reply(stamps), clock=FakeClock(CLOSE))
    frame = await gateway.funding_paid(["ADAUSDT", "XRPUSDT"], CLOSE - dt.timedelta(hours=24))
    assert [row[::2] for row in frame.select("symbol", "funding_time", "funding_rate").iter_rows()] == [
        ("ADAUSDT", 0.0001),
        ("ADAUSDT", 0.0001),
        ("XRPUSDT", -0.002),
    ]
    assert frame["hours"].to_list() == [8, 8, 4]
    asked = session.requests[-1][1]
    assert f"startTime={milliseconds(CLOSE) - 24 * HOUR + 1}" in asked
    assert f"endTime={milliseconds(CLOSE)}" in asked
    assert "symbol=" not in asked


async def test_funding_is_paged_by_time_and_a_stamp_that_two_pages_tell_counts_once() -> None:
    first = [stamp(f"N{number}USDT", 8) for number in range(999)] + [stamp("ADAUSDT", 4)]
    second = [stamp("ADAUSDT", 4), stamp("ADAUSDT", 0)]
    gateway, session, _ = scripted(Reply([]), Reply(first), Reply(second), clock=FakeClock(CLOSE))
    frame = await gateway.funding_paid(["ADAUSDT"], CLOSE - dt.timedelta(hours=24))
    assert frame.height == 2
    assert f"startTime={milliseconds(CLOSE) - 4 * HOUR}" in session.requests[-1][1]


async def test_more_stamps_in_one_millisecond_than_a_page_holds_are_an_error() -> None:
    page = [stamp(f"N{number}USDT", 8) for number in range(1000)]
    gateway, _, _ = scripted(Reply([]), *[Reply(page)] * 2, clock=FakeClock(CLOSE))
    with pytest.raises(ExchangeError, match="more than can be paged"):
        await gateway.funding_paid(["N1USDT"], CLOSE - dt.timedelta(hours=24))


async def test_the_funding_of_many_positions_is_one_request() -> None:
    since = dict.fromkeys(NAMES[:12], CLOSE - dt.timedelta(hours=6)) | {NAMES[0]: CLOSE - dt.timedelta(hours=1)}
    stamps = [stamp(name, 4) for name in NAMES] + [stamp(NAMES[0], 0)]
    gateway, session, _ = scripted(Reply(stamps), clock=FakeClock(CLOSE))
    told = await gateway.fundings(since)
    assert [(one.symbol, one.price) for one in told] == [(name, Decimal("0.5")) for name in [*NAMES[1:12], NAMES[0]]]
    assert len(session.requests) == 1


async def test_the_set_up_of_many_symbols_takes_two_requests() -> None:
    config = {"canTrade": True, "dualSidePosition": False, "multiAssetsMargin": False}
    symbols = [{"symbol": name, "marginType": "CROSSED", "leverage": 5} for name in NAMES]
    gateway, session, _ = scripted(Reply(config), Reply(symbols))
    assert [setup.leverage for setup in await gateway.setups_of(NAMES)] == [5] * 20
    assert len(session.requests) == 2


@pytest.mark.parametrize("many", [3, 10, 11, 20])
async def test_prices_of_several_leave_out_what_is_not_told(many: int) -> None:
    names = NAMES[:many]
    told = [{"symbol": name, "markPrice": "2", "lastFundingRate": "0.0001"} for name in names[2:]]
    gateway, session, _ = scripted(*[Reply([*told, {"symbol": names[0], "markPrice": "0"}])] * 2)
    assert await gateway.prices(names) == dict.fromkeys(names[2:], Decimal(2))
    assert await gateway.funding_rates(names) == dict.fromkeys(names[2:], Decimal("0.0001"))
    assert len(session.requests) == 2


@pytest.mark.parametrize("many", [2, 20])
async def test_prices_of_several_of_which_none_is_told_are_an_error(many: int) -> None:
    gateway, _, _ = scripted(Reply([]))
    with pytest.raises(ExchangeError, match="none of the prices"):
        await gateway.prices(NAMES[:many])
