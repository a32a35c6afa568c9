"""Candles, prices and rules as the exchange tells them."""

import asyncio
import datetime as dt
import json
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from tests.wire.fakes import FakeClock, FakeSession, Reply, scripted
from trader.domain.interval import Interval
from trader.errors import ConfigError, DataError, ExchangeError, Rejected

HOUR = 3_600_000
CLOSE = dt.datetime(2024, 3, 5, 16, tzinfo=dt.UTC)


def milliseconds(moment: dt.datetime) -> int:
    return round(moment.timestamp() * 1000)


def kline(opened: int, length: int, price: float) -> list[object]:
    numbers = [f"{price:.4f}", f"{price + 0.02:.4f}", f"{price - 0.02:.4f}", f"{price + 0.01:.4f}", "1000"]
    return [opened, *numbers, opened + length - 1, "600.5", 42, "500", "300", "0"]


class Market(FakeSession):
    """Answers klines as Binance does: those that open in the asked stretch, the open one last, at most `limit`."""

    def __init__(self, now: dt.datetime, *, stale: int = 0, missing: set[int] = frozenset()) -> None:
        super().__init__([])
        self.now = milliseconds(now)
        self.stale = stale
        self.missing = missing
        self.limits: list[int] = []

    def get(self, url: object, **_: object) -> object:
        asked = dict(pair.split("=") for pair in str(url).split("?")[1].split("&"))
        self.limits.append(int(asked["limit"]))
        length = {"8h": 8 * HOUR, "1h": HOUR, "1m": 60_000, "12h": 12 * HOUR}[asked["interval"]]
        begin, end = int(asked["startTime"]), min(int(asked["endTime"]), self.now - self.stale)
        opens = range(-(-begin // length) * length, end + 1, length)
        kept = [opened for opened in opens if opened not in self.missing][: int(asked["limit"])]
        price = 0.5 if asked["symbol"] == "ADAUSDT" else 0.9
        self.script.append(Reply([kline(opened, length, price) for opened in kept]))
        return super().get(url)


def market(now: dt.datetime, **faults: object):
    gateway, _, clock = scripted(clock=FakeClock(now))
    session = Market(now, **faults)
    gateway._calls.wire.session = session
    return gateway, session, clock


@pytest.mark.parametrize("text", ["16h", "12h", "1h", "7m", "1m"])
@pytest.mark.parametrize("late", [0, 1, 59_000])
async def test_exactly_the_last_whole_closed_candles_come_back(text: str, late: int) -> None:
    interval = Interval.parse(text)
    now = interval.floor(CLOSE) + dt.timedelta(milliseconds=late)
    gateway, _, _ = market(now)
    frame, _ = await gateway.candles(["ADAUSDT"], interval, 20)
    closes = frame["close_time"].to_list()
    assert closes == list(interval.closes(interval.floor(now) - 19 * interval.delta, interval.floor(now)))
    assert frame.columns[:3] == ["symbol", "open_time", "close_time"]
    bars = interval.minutes // interval.native.minutes
    assert frame["volume"].to_list() == [1000.0 * bars] * 20


@pytest.mark.fault(62)
async def test_a_candle_counts_as_closed_only_when_the_clocks_error_cannot_matter() -> None:
    gateway, _, clock = market(CLOSE + dt.timedelta(milliseconds=40))
    clock.error = dt.timedelta(milliseconds=50)
    frame, _ = await gateway.candles(["ADAUSDT"], Interval.parse("1h"), 3)
    assert frame["close_time"].to_list()[-1] == CLOSE - dt.timedelta(hours=1)
    clock.error = dt.timedelta(milliseconds=40)
    frame, _ = await gateway.candles(["ADAUSDT"], Interval.parse("1h"), 3)
    assert frame["close_time"].to_list()[-1] == CLOSE


async def test_many_candles_are_paged_with_as_few_rows_as_needed() -> None:
    gateway, session, _ = market(CLOSE)
    frame, _ = await gateway.candles(["ADAUSDT"], Interval.parse("7m"), 300)
    assert len(frame) == 300
    assert session.limits == [1000, 1000, 101]


async def test_several_symbols_come_back_in_one_sorted_frame() -> None:
    gateway, _, _ = market(CLOSE)
    frame, _ = await gateway.candles(["XRPUSDT", "ADAUSDT", "XRPUSDT"], Interval.parse("16h"), 2)
    assert frame["symbol"].to_list() == ["ADAUSDT", "ADAUSDT", "XRPUSDT", "XRPUSDT"]
    assert frame["open"].to_list() == [0.5, 0.5, 0.9, 0.9]


async def test_while_the_newest_candle_is_not_published_the_last_ones_are_those_before_it() -> None:
    gateway, session, _ = market(CLOSE, stale=HOUR)
    frame, _ = await gateway.candles(["ADAUSDT"], Interval.parse("1h"), 5)
    assert frame["close_time"].to_list()[-1] == CLOSE - dt.timedelta(hours=1)
    assert len(frame) == 5
    assert len(session.requests) == 2


@pytest.mark.fault(62, 63, 66)
async def test_an_answer_from_just_before_the_close_makes_no_whole_candle_of_the_one_still_forming() -> None:
    gateway, _, _ = market(CLOSE + dt.timedelta(milliseconds=40), stale=41)
    frame, _ = await gateway.candles(["ADAUSDT"], Interval.parse("1h"), 5)
    assert frame["close_time"].to_list()[-1] == CLOSE - dt.timedelta(hours=1)


async def test_a_candle_that_stays_unpublished_is_refused_and_named() -> None:
    gateway, _, _ = market(CLOSE, stale=3 * HOUR)
    with pytest.raises(ExchangeError, match=r"closed at 2024-03-05T15:00:00Z yet \(2024-03-05T14:00:00Z last\)"):
        await gateway.candles(["ADAUSDT"], Interval.parse("1h"), 5)


@pytest.mark.fault(64)
@pytest.mark.parametrize("back", [2, 3])
async def test_a_hole_is_refused_wherever_it_is(back: int) -> None:
    gateway, _, _ = market(CLOSE, missing={milliseconds(CLOSE) - back * HOUR})
    with pytest.raises(DataError):
        await gateway.candles(["ADAUSDT"], Interval.parse("1h"), 3)


@pytest.mark.parametrize(("stale", "last"), [(0, 0), (41, 1), (5 * 60_000, 1)])
async def test_a_page_of_history_ends_before_a_candle_that_may_still_be_forming(stale: int, last: int) -> None:
    gateway, session, _ = market(CLOSE + dt.timedelta(milliseconds=40), stale=stale)
    page = await gateway.klines("ADAUSDT", Interval.parse("1h"), CLOSE - dt.timedelta(hours=5), CLOSE)
    assert page["close_time"].to_list()[-1] == CLOSE - last * dt.timedelta(hours=1)
    assert session.limits == [6]


async def test_a_candle_of_long_ago_is_whole_though_none_comes_after_it() -> None:
    gone = {milliseconds(CLOSE) - hours * HOUR for hours in range(-3, 3)}
    gateway, _, _ = market(CLOSE, missing=gone)
    page = await gateway.klines("ADAUSDT", Interval.parse("1h"), CLOSE - dt.timedelta(hours=5), CLOSE)
    assert page["close_time"].to_list()[-1] == CLOSE - dt.timedelta(hours=2)


async def test_a_history_that_is_too_short_is_refused() -> None:
    last = milliseconds(Interval.parse("16h").floor(CLOSE))
    gateway, _, _ = market(CLOSE, missing={last - hours * HOUR for hours in range(40, 1000, 8)})
    with pytest.raises(DataError, match="has 2 of 5 whole 16h candles of ADAUSDT"):
        await gateway.candles(["ADAUSDT"], Interval.parse("16h"), 5)


@pytest.mark.fault(68)
@pytest.mark.parametrize(
    "damage",
    [
        lambda row: row[:6],
        lambda row: [str(row[0]), *row[1:]],
        lambda row: [row[0], None, *row[2:]],
        lambda row: [row[0], "abc", *row[2:]],
        lambda row: [*row[:6], row[6] - 60_000, *row[7:]],
        lambda row: [row[0], "nan", *row[2:]],
        lambda row: [row[0], "-0.5", *row[2:]],
        lambda row: [*row[:2], "0.1", *row[3:]],
    ],
)
async def test_a_row_that_is_no_candle_is_never_used(damage) -> None:
    rows = [kline(milliseconds(CLOSE) - back * HOUR, HOUR, 0.5) for back in (3, 2, 1, 0)]
    gateway, _, _ = scripted(Reply([rows[0], damage(rows[1]), *rows[2:]]), clock=FakeClock(CLOSE))
    with pytest.raises((ExchangeError, DataError)):
        await gateway.candles(["ADAUSDT"], Interval.parse("1h"), 3)


@pytest.mark.fault(65)
async def test_a_duplicated_row_is_refused_by_the_candles_room() -> None:
    rows = [kline(milliseconds(CLOSE) - back * HOUR, HOUR, 0.5) for back in (3, 2, 2, 1, 0)]
    gateway, _, _ = scripted(Reply(rows), clock=FakeClock(CLOSE))
    with pytest.raises(DataError):
        await gateway.candles(["ADAUSDT"], Interval.parse("1h"), 3)


async def test_the_first_failure_of_many_reads_leaves_none_running() -> None:
    gateway, session, _ = scripted(clock=FakeClock(CLOSE))

    @asynccontextmanager
    async def answer():
        if len(session.requests) < 5:
            await asyncio.Event().wait()
        yield Reply("", 403)

    def get(url: object, **_: object) -> object:
        session.requests.append(("GET", str(url), ""))
        return answer()

    session.get = get
    with pytest.raises(Rejected):
        await gateway.candles([f"X{number}USDT" for number in range(20)], Interval.parse("1h"), 3)
    assert 5 <= len(session.requests) <= 8
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_prices_are_mark_prices_one_by_one_or_all_at_once() -> None:
    row = {"symbol": "ADAUSDT", "markPrice": "0.61230000", "lastFundingRate": "0.0001"}
    gateway, session, _ = scripted(Reply(row))
    assert await gateway.prices(["ADAUSDT"]) == {"ADAUSDT": Decimal("0.6123")}
    symbols = [f"X{number}USDT" for number in range(11)]
    rows = [{"symbol": symbol, "markPrice": "2"} for symbol in [*symbols, "OTHER"]]
    gateway, session, _ = scripted(Reply([*rows, {"symbol": "BROKEN", "markPrice": ""}]))
    assert await gateway.prices(symbols) == dict.fromkeys(symbols, Decimal(2))
    assert len(session.requests) == 1


@pytest.mark.parametrize(
    "row", [{"symbol": "ADAUSDT"}, {"symbol": "ADAUSDT", "markPrice": "0"}, {"symbol": "B", "markPrice": "1"}]
)
async def test_a_price_that_is_not_told_is_an_error(row: dict) -> None:
    gateway, _, _ = scripted(*[Reply(row)] * 5)
    with pytest.raises(ExchangeError):
        await gateway.prices(["ADAUSDT"])


@pytest.mark.parametrize("capture", ["exchangeInfo_mainnet_2021-09-06.json", "exchangeInfo_testnet_2025-03-06.json"])
async def test_the_rules_of_every_captured_perpetual_can_be_read(shared: Path, capture: str) -> None:
    info = json.loads((shared / "binance" / capture).read_text())
    brackets = json.loads((shared / "binance" / "leverageBracket_2024-10.json").read_text())
    known = {row["symbol"] for row in brackets}
    symbols = [
        row["symbol"]
        for row in info["symbols"]
        if row["contractType"] == "PERPETUAL" and row["quoteAsset"] == "USDT" and row["symbol"] in known
    ]
    gateway, _, _ = scripted(Reply(info), Reply(brackets))
    found = await gateway.instruments(symbols)
    assert len(found) > 100
    ada = found["ADAUSDT"]
    assert (ada.tick, ada.step, ada.min_notional) == (Decimal("0.0001"), 1, 5)
    assert ada.max_quantity == (3_000_000 if "mainnet" in capture else 10_000_000)
    assert ada.brackets[0].floor == 0
    assert [bracket.floor for bracket in ada.brackets[1:]] == [bracket.cap for bracket in ada.brackets[:-1]]


@pytest.mark.parametrize("capture", ["exchangeInfo_mainnet_2021-09-06.json", "exchangeInfo_testnet_2025-03-06.json"])
async def test_what_is_no_usdt_perpetual_has_rules_to_be_closed_by_too(shared: Path, capture: str) -> None:
    info = json.loads((shared / "binance" / capture).read_text())
    brackets = json.loads((shared / "binance" / "leverageBracket_2024-10.json").read_text())
    others = [row["symbol"] for row in info["symbols"] if "_" in row["symbol"] or row["quoteAsset"] != "USDT"]
    gateway, _, _ = scripted(Reply(info), Reply(brackets), Reply(info))
    with pytest.raises(ConfigError, match="not a USDT-margined perpetual"):
        await gateway.instruments(others)
    found, unusable = await gateway.any_instruments([*others, "ADAUSDT", "GONEUSDT"])
    assert {*others, "ADAUSDT"} == found.keys()
    assert len(others) > 2
    assert all(one.tick > 0 and one.step > 0 for one in found.values())
    assert unusable == {"GONEUSDT": "it is not listed on this venue"}


async def test_what_cannot_be_read_of_one_symbol_to_be_closed_keeps_no_other_from_it() -> None:
    broken = SYMBOL | {"symbol": "BROKEN", "filters": []}
    quarter = SYMBOL | {"symbol": "ADAUSDT_240628", "contractType": "CURRENT_QUARTER"}
    gateway, _, _ = scripted(Reply({"rateLimits": [LIMIT], "symbols": [broken, quarter]}), key="")
    found, unusable = await gateway.any_instruments(["BROKEN", "ADAUSDT_240628"])
    assert list(found) == ["ADAUSDT_240628"]
    assert list(unusable) == ["BROKEN"]
    assert "LOT_SIZE" in unusable["BROKEN"]


FILTERS = [
    {"filterType": "PRICE_FILTER", "tickSize": "0.00010", "minPrice": "0.01", "maxPrice": "100"},
    {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "1000"},
    {"filterType": "MARKET_LOT_SIZE", "stepSize": "0.01", "minQty": "0.1", "maxQty": "120"},
    {"filterType": "MIN_NOTIONAL", "notional": "5"},
]
SYMBOL = {
    "symbol": "ADAUSDT",
    "status": "TRADING",
    "contractType": "PERPETUAL",
    "quoteAsset": "USDT",
    "marginAsset": "USDT",
    "filters": FILTERS,
}
LIMIT = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000}
TIERS = [
    {
        "symbol": "ADAUSDT",
        "brackets": [
            {"initialLeverage": 20, "notionalFloor": 5000, "notionalCap": 9000, "maintMarginRatio": 0.02, "cum": 50.0},
            {"initialLeverage": 50, "notionalFloor": 0, "notionalCap": 5000, "maintMarginRatio": 0.01, "cum": 0.0},
        ],
    }
]


def info(**changes: object) -> Reply:
    return Reply({"rateLimits": [LIMIT], "symbols": [{"symbol": "BROKEN"}, SYMBOL | changes]})


async def test_the_stricter_of_both_lot_filters_holds_and_brackets_are_sorted() -> None:
    gateway, _, _ = scripted(info(status="SETTLING"), Reply(TIERS))
    ada = (await gateway.instruments(["ADAUSDT"]))["ADAUSDT"]
    assert (ada.step, ada.min_quantity, ada.max_quantity) == (Decimal("0.01"), Decimal("0.1"), 120)
    assert not ada.trading
    assert [str(bracket.maintenance_rate) for bracket in ada.brackets] == ["0.01", "0.02"]


@pytest.mark.fault(48)
async def test_brackets_are_asked_once_an_hour_and_rules_every_time() -> None:
    gateway, session, clock = scripted(info(), Reply(TIERS), info(), info(), Reply(TIERS))
    for minutes in (0, 59, 1):
        clock.time += dt.timedelta(minutes=minutes)
        await gateway.instruments(["ADAUSDT"])
    assert [path.rsplit("/")[-1] for path in session.paths()] == [
        "exchangeInfo", "leverageBracket", "exchangeInfo", "exchangeInfo", "leverageBracket",
    ]  # fmt: skip


async def test_without_a_key_rules_come_without_brackets() -> None:
    gateway, session, _ = scripted(info(), key="")
    assert (await gateway.instruments(["ADAUSDT"]))["ADAUSDT"].brackets == ()
    assert len(session.requests) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"contractType": "TRADIFI_PERPETUAL"},
        {"contractType": "CURRENT_QUARTER"},
        {"quoteAsset": "USDC"},
        {"symbol": "ADAUSDC"},
    ],
)
async def test_only_perpetuals_in_usdt_are_taken(changes: dict) -> None:
    gateway, _, _ = scripted(info(**changes), Reply(TIERS))
    with pytest.raises(ConfigError, match="ADAUSDT is not a USDT-margined perpetual"):
        await gateway.instruments(["ADAUSDT"])


@pytest.mark.parametrize("left_out", range(4))
async def test_a_missing_filter_is_an_error(left_out: int) -> None:
    filters = [row for number, row in enumerate(FILTERS) if number != left_out]
    gateway, _, _ = scripted(info(filters=filters), Reply(TIERS))
    with pytest.raises(ExchangeError, match=FILTERS[left_out]["filterType"]):
        await gateway.instruments(["ADAUSDT"])
