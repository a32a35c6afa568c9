"""What a daemon knows of funding when a close comes is what a file tells of it later, or nothing."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from trader.market.funding import settled, with_funding
from trader.market.tables import TIME

START = datetime(2025, 6, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAYS = 6
CHANGE = 72
"""Hours after which the symbols that change their interval do; the settlement then is the last of the old one."""

HOURS: dict[str, tuple[int, int]] = {
    "EIGHT": (8, 8),
    "FOUR": (4, 4),
    "ONE": (1, 1),
    "OFTENER": (8, 4),
    "SELDOMER": (4, 8),
    "HOURLY": (8, 1),
    "CALMED": (1, 8),
}


def stamped(symbol: str) -> list[int]:
    before, after = HOURS[symbol]
    return [*range(0, CHANGE + 1, before), *range(CHANGE + after, DAYS * 24 + 1, after)]


def funding_of(symbols: list[str], late: timedelta = timedelta(0)) -> pl.DataFrame:
    rows = [
        (symbol, START + hour * HOUR + late, 0.0001 * (1 + hour % 7))
        for symbol in symbols
        for hour in stamped(symbol)
    ]  # fmt: skip
    names = {"symbol": pl.String, "funding_time": TIME, "funding_rate": pl.Float64}
    return pl.DataFrame(rows, schema=names, orient="row")


def candles_of(symbols: list[str], length: int) -> pl.DataFrame:
    rows = [
        (symbol, START + hour * HOUR, START + (hour + length) * HOUR)
        for symbol in symbols
        for hour in range(0, DAYS * 24 - length + 1, length)
    ]
    return pl.DataFrame(rows, schema={"symbol": pl.String, "open_time": TIME, "close_time": TIME}, orient="row")


def told(funding: pl.DataFrame, close: datetime, length: int, *, last: bool = True) -> pl.DataFrame:
    """What the exchange tells at a close: a window of stamps, without the close's own where that is late, and hours."""
    now = {name: hours[close > START + CHANGE * HOUR] for name, hours in HOURS.items()}
    stop = close + timedelta(seconds=1) if last else close
    since = close - (length + 24) * HOUR
    window = funding.filter((pl.col("funding_time") > since) & (pl.col("funding_time") < stop))
    return window.with_columns(hours=pl.col("symbol").replace_strict(now, return_dtype=pl.Int64))


@pytest.mark.parametrize("length", [1, 4, 8, 12, 24])
def test_the_funding_that_is_traded_on_is_that_of_the_file(length: int) -> None:
    names = list(HOURS)
    candles, funding = candles_of(names, length), funding_of(names, timedelta(milliseconds=7))
    whole = with_funding(candles, funding)
    assert whole["funding_rate"].null_count() == 0
    # nor do the hours of now matter to what is all told
    end = START + DAYS * 24 * HOUR
    assert with_funding(candles, told(funding, end, DAYS * 24)).equals(whole)
    for close in candles["close_time"].unique().sort():
        last = candles.filter(pl.col("close_time") == close)
        file = whole.filter(pl.col("close_time") == close)
        live = with_funding(last, told(funding, close, length))
        assert live["funding_rate"].to_list() == pytest.approx(file["funding_rate"].to_list(), abs=1e-15), close


@pytest.mark.parametrize("length", [1, 4, 8, 12, 24])
def test_a_close_whose_own_stamp_is_not_told_is_unknown_and_one_without_is_not(length: int) -> None:
    names = list(HOURS)
    candles, funding = candles_of(names, length), funding_of(names)
    for close in candles["close_time"].unique().sort():
        last = candles.filter(pl.col("close_time") == close)
        live = with_funding(last, told(funding, close, length, last=False))
        hour = (close - START) // HOUR
        unknown = live.filter(pl.col("funding_rate").is_null())["symbol"].to_list()
        assert unknown == [name for name in names if hour in stamped(name)], close


def test_a_symbol_is_settled_where_its_hours_say_so_and_it_was_before() -> None:
    close = START + 12 * HOUR
    rows = [
        ("EIGHT", close - 4 * HOUR, 0.1, 8),
        ("FOUR", close - 4 * HOUR, 0.1, 4),
        ("ODD", close - 6 * HOUR, 0.1, 4),
    ]
    names = {"symbol": pl.String, "funding_time": TIME, "funding_rate": pl.Float64, "hours": pl.Int64}
    stamps = pl.DataFrame(rows, schema=names, orient="row")
    symbols = ["EIGHT", "FOUR", "NEW", "ODD"]
    last = candles_of(symbols, 12).filter(pl.col("close_time") == close)
    assert settled(last, stamps).to_list() == [False, True, False, False]
    assert settled(last, stamps.drop("hours")).to_list() == [False] * 4
    assert settled(last, stamps.clear()).to_list() == [False] * 4


def test_an_interval_that_is_told_before_it_holds_costs_a_symbol_no_more_than_that_close() -> None:
    # told to be settled every four hours from now on, and settled once more after eight
    noon = START + 12 * HOUR
    names = {"symbol": pl.String, "funding_time": TIME, "funding_rate": pl.Float64, "hours": pl.Int64}
    times = [START + hour * HOUR for hour in (0, 8, 16, 20)]
    every = pl.DataFrame([("A", time, 0.1, 4) for time in times], schema=names, orient="row")
    known = {}
    for close in (noon, noon + 4 * HOUR, noon + 8 * HOUR):
        last = candles_of(["A"], 4).filter(pl.col("close_time") == close)
        known[close] = with_funding(last, every.filter(pl.col("funding_time") <= close))["funding_rate"][0]
    assert list(known.values()) == [None, 0.1, 0.1]
