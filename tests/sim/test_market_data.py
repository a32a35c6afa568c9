"""Klines and tickers: built from one tape, and from nothing that has not happened yet."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader.sim.klines import INTERVALS, build
from trader.sim.tape import tape_from_frames

BARS = [
    (1.0, 1.5, 0.9, 1.2),
    (1.2, 1.3, 1.1, 1.15),
    (1.15, 1.9, 1.0, 1.7),
    (1.7, 1.8, 1.6, 1.65),
    (1.66, 1.7, 1.5, 1.6),
]


def test_the_open_candle_is_last_and_holds_only_what_has_happened(open_market: Any, market: Any) -> None:
    client = open_market(BARS)
    client.advance(2.5)
    rows = client.get("/fapi/v1/klines", symbol="ADAUSDT", interval="4h")
    assert len(rows) == 1
    opened, o, h, lo, c, volume, closes = rows[0][:7]
    assert (opened, closes) == (market.T0, market.T0 + 4 * market.HOUR - 1)
    assert (o, h, lo, c, volume) == ("1.00", "1.50", "0.90", "1.15", "200")  # the third bar shows only its open
    assert len(rows[0]) == 12


def test_at_a_boundary_the_bar_is_closed_and_a_new_one_is_open(open_market: Any, market: Any) -> None:
    client = open_market(BARS)
    client.advance(2)
    rows = client.get("/fapi/v1/klines", symbol="ADAUSDT", interval="2h")
    assert [row[1:6] for row in rows] == [
        ["1.00", "1.50", "0.90", "1.15", "200"],
        ["1.15", "1.15", "1.15", "1.15", "0"],
    ]
    server_time = client.get("/fapi/v1/time")["serverTime"]
    assert [row[6] < server_time for row in rows] == [True, False]


def test_a_candle_that_began_before_the_tape_is_not_told(market: Any) -> None:
    """Nobody knows how it began, and no longer candle is made of it: the backtest drops it, too."""
    first = datetime.fromtimestamp(market.T0 / 1000, tz=UTC) + timedelta(hours=5)
    bars = {
        "open_time": [first + timedelta(hours=hour) for hour in range(12)],
        **{name: [float(hour + 1) for hour in range(12)] for name in ("open", "high", "low", "close", "volume")},
    }
    frame = pl.DataFrame(bars, schema_overrides={"open_time": pl.Datetime("ms", "UTC")})
    series = tape_from_frames(frame, None, name="ADAUSDT.parquet").series["ADAUSDT"]
    hour, eight = market.HOUR, build(series, INTERVALS["8h"], 2)

    def told(now: int) -> list[list[Any]]:
        rows: list[list[Any]] = json.loads(eight.rows(market.T0 + now * hour, None, None, 500))
        return [[(row[0] - market.T0) // hour, *row[1:5]] for row in rows]

    assert told(7) == []
    assert told(9) == [[8, "4.00", "5.00", "4.00", "5.00"]]
    assert told(16) == [[8, "4.00", "11.00", "4.00", "11.00"], [16, *["12.00"] * 4]]
    assert [row[0] for row in json.loads(build(series, hour, 2).rows(market.T0 + 7 * hour, None, None, 2))] == [
        market.T0 + 6 * hour,
        market.T0 + 7 * hour,
    ]


def test_after_the_tape_the_last_candle_is_flat_at_the_last_close(open_market: Any, market: Any) -> None:
    client = open_market(BARS)
    client.advance(99)
    rows = client.get("/fapi/v1/klines", symbol="ADAUSDT", interval="1h", limit=2)
    assert [row[1:5] for row in rows] == [["1.66", "1.70", "1.50", "1.60"], ["1.60"] * 4]
    whole = client.get("/fapi/v1/klines", symbol="ADAUSDT", interval="4h")
    assert [row[4] for row in whole] == ["1.65", "1.60"]


def test_start_end_and_limit_choose_rows_as_binance_does(open_market: Any, market: Any) -> None:
    client = open_market(BARS)
    client.advance(5)

    def opens(**params: int) -> list[int]:
        rows = client.get("/fapi/v1/klines", symbol="ADAUSDT", interval="1h", **params)
        return [(row[0] - market.T0) // market.HOUR for row in rows]

    hour = market.HOUR
    assert opens(limit=2) == [4, 5]
    assert opens(startTime=market.T0 + 1, limit=2) == [1, 2]
    assert opens(endTime=market.T0 + 3 * hour, limit=2) == [2, 3]
    assert opens(startTime=market.T0 + hour, endTime=market.T0 + 2 * hour) == [1, 2]
    assert opens(startTime=market.T0 + 99 * hour) == []


@given(
    st.lists(st.integers(50, 150), min_size=30, max_size=60),
    st.integers(1, 29 * 60),
    st.sampled_from([name for name, length in INTERVALS.items() if length >= 3_600_000]),
)
def test_klines_never_change_when_the_future_arrives(closes: list[int], minutes: int, interval: str) -> None:
    first = datetime(2024, 1, 1, 5, tzinfo=UTC)
    prices = [close / 100 for close in closes]
    frame = pl.DataFrame(
        {
            "open_time": pl.Series(
                [first + timedelta(hours=hour) for hour in range(len(prices))], dtype=pl.Datetime("ms", "UTC")
            ),
            "open": prices,
            "high": [price + 0.1 for price in prices],
            "low": [price - 0.1 for price in prices],
            "close": prices,
            "volume": [float(close) for close in closes],
        }
    )
    now = round(first.timestamp() * 1000) + minutes * 60_000
    known = minutes // 60
    changed = frame.with_columns(
        pl.when(pl.int_range(pl.len()) > known).then(pl.col(name) * 2).otherwise(pl.col(name)).alias(name)
        for name in ("open", "high", "low", "close", "volume")
    ).with_columns(  # of the current bar only the open has happened
        pl.when(pl.int_range(pl.len()) == known).then(pl.col("high") + 9).otherwise(pl.col("high")).alias("high")
    )
    answers = []
    for each in (frame, changed):
        tape = tape_from_frames(each, None, name="ADAUSDT.parquet")
        answers.append(build(tape.series["ADAUSDT"], INTERVALS[interval], 2).rows(now, None, None, 500))
    assert answers[0] == answers[1]


def test_every_native_interval_agrees_with_the_bars_it_is_made_of(open_market: Any, market: Any) -> None:
    bars = [(1 + i / 100, 1.02 + i / 100, 0.97 + i / 100, 1.01 + i / 100) for i in range(49)]
    client = open_market(bars)
    client.advance(48)
    for interval, length in INTERVALS.items():
        if length < market.HOUR:
            continue
        rows = client.get("/fapi/v1/klines", symbol="ADAUSDT", interval=interval, limit=1500)[:-1]
        size = length // market.HOUR
        for row in rows:
            part = bars[(row[0] - market.T0) // market.HOUR :][:size]
            assert len(part) == size
            expected = (part[0][0], max(bar[1] for bar in part), min(bar[2] for bar in part), part[-1][3])
            assert tuple(float(value) for value in row[1:5]) == pytest.approx(expected, abs=1e-9)
            assert float(row[5]) == 100 * size


def test_tickers_show_the_first_price_after_now(open_market: Any, market: Any) -> None:
    client = open_market(BARS)
    client.advance(1)
    assert client.get("/fapi/v1/ticker/price", symbol="ADAUSDT")["price"] == "1.20"
    assert client.get("/fapi/v2/ticker/price")[0]["symbol"] == "ADAUSDT"
    book = client.get("/fapi/v1/ticker/bookTicker", symbol="ADAUSDT")
    assert (book["bidPrice"], book["askPrice"]) == ("1.19", "1.21")
    levels = client.get("/fapi/v1/depth", symbol="ADAUSDT", limit=5)
    assert (levels["bids"], levels["asks"]) == ([["1.19", book["bidQty"]]], [["1.21", book["askQty"]]])
    assert client.raw("GET", "/fapi/v1/depth", "symbol=ADAUSDT&limit=7")[1]["code"] == -4021
    day = client.get("/fapi/v1/ticker/24hr", symbol="ADAUSDT")
    assert (day["openPrice"], day["highPrice"], day["lowPrice"], day["lastPrice"]) == ("1", "1.5", "0.9", "1.2")
    assert day["priceChangePercent"] == "20.000"


def test_funding_shows_only_what_was_paid(open_market: Any, market: Any) -> None:
    rates = {market.START + timedelta(hours=hour): hour / 1000 for hour in (1, 2, 3)}
    client = open_market(BARS, rates)
    assert client.get("/fapi/v1/fundingRate", symbol="ADAUSDT") == []
    premium = client.get("/fapi/v1/premiumIndex", symbol="ADAUSDT")
    assert (premium["lastFundingRate"], premium["nextFundingTime"]) == ("0.00000000", market.T0 + market.HOUR)
    client.advance(2)
    rows = client.get("/fapi/v1/fundingRate", symbol="ADAUSDT")
    assert [(row["fundingRate"], row["markPrice"]) for row in rows] == [
        ("0.00100000", "1.20000000"),
        ("0.00200000", "1.15000000"),
    ]
    assert client.get("/fapi/v1/fundingRate", symbol="ADAUSDT", limit=1)[0]["fundingTime"] == rows[1]["fundingTime"]
    first = client.get("/fapi/v1/fundingRate", symbol="ADAUSDT", startTime=market.T0, limit=1)
    assert first[0]["fundingTime"] == rows[0]["fundingTime"]
    premium = client.get("/fapi/v1/premiumIndex")[0]
    assert (premium["lastFundingRate"], premium["nextFundingTime"]) == ("0.00200000", market.T0 + 3 * market.HOUR)


def test_how_often_a_symbol_is_settled_is_told_as_it_is_now(open_market: Any, market: Any) -> None:
    # every hour, every two hours with one left out, and every eight hours
    hours = (1, 2, 3, 4, 6, 8, 12, 14, 22, 30)
    client = open_market(market.steps(*[1.0] * 40), {market.START + timedelta(hours=hour): 0.001 for hour in hours})
    told = {}
    for hour in range(1, 31):
        client.advance(hour)
        rows = client.get("/fapi/v1/fundingInfo")
        told[hour] = rows[0]["fundingIntervalHours"] if rows else 8
    # only the second of two longer ones is believed, or the silence after the first
    assert [told[hour] for hour in (3, 6, 8, 12, 14, 15, 16, 22, 30)] == [1, 1, 2, 2, 2, 2, 4, 2, 8]


def test_a_funding_column_is_one_stamp_at_the_end_of_its_bar(open_market: Any, market: Any) -> None:
    frame = market.candles(BARS).with_columns(pl.Series("funding_rate", [0.001, None, 0.002, 0.0, 0.0]))
    client = open_market(frame)
    client.order("BUY", 100)
    client.advance(3)
    paid = [Decimal(row["income"]) for row in client.read("/fapi/v1/income", incomeType="FUNDING_FEE")]
    assert paid == [Decimal("-0.12"), Decimal("-0.34")]  # 100 * 1.2 * .001, 100 * 1.7 * .002
    assert len(client.get("/fapi/v1/fundingRate", symbol="ADAUSDT")) == 2


def test_rate_limits_and_hosts_are_those_of_the_instruments_file(open_market: Any, market: Any, shared: Any) -> None:
    file = shared / "binance" / "exchangeInfo_testnet_2025-03-06.json"
    client = open_market(market.steps(0.5, 0.5001), instruments=file)
    info = client.get("/fapi/v1/exchangeInfo")
    assert info["rateLimits"][0]["limit"] == 6000
    row = info["symbols"][0]
    assert (len(info["symbols"]), row["symbol"], row["pricePrecision"]) == (1, "ADAUSDT", 5)
    assert client.order("BUY", 1000)["avgPrice"] == "0.5001"
    assert client.get("/fapi/v1/klines", symbol="ADAUSDT", interval="1h")[0][1] == "0.50000"


def test_leverage_brackets_come_with_the_instruments_file(
    open_market: Any, market: Any, shared: Any, tmp_path: Any
) -> None:
    import json

    info = json.loads((shared / "binance" / "exchangeInfo_mainnet_2021-09-06.json").read_text())
    info["leverageBrackets"] = json.loads((shared / "binance" / "leverageBracket_2024-10.json").read_text())
    (tmp_path / "instruments.json").write_text(json.dumps(info))
    client = open_market(market.steps(0.5, 0.5001), instruments=tmp_path / "instruments.json")
    table = client.read("/fapi/v1/leverageBracket", symbol="ADAUSDT")[0]["brackets"]
    assert table[0] == {
        "bracket": 1,
        "initialLeverage": 75,
        "notionalCap": 10000,
        "notionalFloor": 0,
        "maintMarginRatio": 0.005,
        "cum": 0,
    }
    assert client.post("/fapi/v1/leverage", symbol="ADAUSDT", leverage=75)["maxNotionalValue"] == "10000"
    assert client.read("/fapi/v1/commissionRate", symbol="ADAUSDT")["takerCommissionRate"] == "0.0005"
