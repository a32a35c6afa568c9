"""Candle frames and what makes one usable.

A candle frame has the columns symbol, open_time, close_time (aware UTC milliseconds; close_time = open_time + interval,
the exclusive end), open, high, low, close, volume, where known quote_volume (in quote currency) and funding_rate (paid
by longs to shorts, summed over the bar), sorted by symbol and close_time.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

import polars as pl

from trader.domain.interval import Interval
from trader.errors import DataError
from trader.market.tables import STATED, TIME, as_floats, parse_table, utc_times, with_symbol

PRICES = ("open", "high", "low", "close")
OPTIONAL = ("quote_volume", "funding_rate")

_FETCH_AGAIN = "fetch or export the candles again"

_Check = tuple[pl.Expr, str, str]


class Fault(NamedTuple):
    """What is wrong with a row of a candle frame (from 0).

    `kind` is one of nameless, impossible, unsorted, duplicate, off_grid, partial, gap; `reason` follows the name
    of the candle in a sentence.
    """

    row: int
    kind: str
    reason: str


def parse_candles(data: bytes, name: str, symbol: str | None = None) -> pl.DataFrame:
    """Read the bytes of a candle file into a validated candle frame; `name` is the file's name.

    The interval is the spacing of the bars (`spacing` tells it).

    Raises:
        DataError: unreadable, of another symbol, or unusable as `validate` says.
    """
    frame = parse_bars(data, name, symbol)
    validate(frame, spacing(frame))
    return frame


def parse_bars(data: bytes, name: str, symbol: str | None = None) -> pl.DataFrame:
    """Read the bytes of a candle file into candle columns, whatever is wrong with its candles.

    Rows keep their order within a symbol; prices and funding rates have the eight decimals an exchange states.

    Raises:
        DataError: unreadable, empty, of another symbol, or of no interval.
    """
    required = ["open_time", *PRICES, "volume"]
    table = with_symbol(parse_table(data, name, required), name, symbol)
    numbers = [*required[1:], *(column for column in OPTIONAL if column in table.columns)]
    table = as_floats(utc_times(table, "open_time", name), numbers, name)
    if table.is_empty():
        raise DataError(f"{name} holds no candles; give a file with at least two.")
    # A file may list all symbols of an instant together; within one symbol its order is not ours to mend.
    stated = [column for column in (*PRICES, "funding_rate") if column in table.columns]
    bars = table.select("symbol", "open_time", *numbers).sort("symbol", maintain_order=True)
    bars = bars.with_columns(pl.col(stated).round(STATED))
    return with_close(bars, spacing(bars))


def spacing(bars: pl.DataFrame) -> Interval:
    """Return the interval of bars: their commonest distance within a symbol.

    Raises:
        DataError: no symbol has two bars, or the distance is not whole minutes.
    """
    gaps = (
        bars.select("symbol", "open_time")
        .unique()
        .sort("symbol", "open_time")
        .select(pl.col("open_time").diff().over("symbol").dt.total_milliseconds().alias("gap"))
        .drop_nulls()
    )
    if gaps.is_empty():
        raise DataError("One bar does not tell the interval of its file; give at least two bars of a symbol.")
    commonest = int(gaps.group_by("gap").len().sort(["len", "gap"], descending=[True, False])["gap"][0])
    if commonest % 60_000:
        raise DataError(f"Bars {commonest / 1000:g} seconds apart make no interval; give candles of whole minutes.")
    return Interval(commonest // 60_000)


def with_close(bars: pl.DataFrame, interval: Interval) -> pl.DataFrame:
    """Turn bars known by open_time into candle columns in their fixed order; nothing is checked."""
    optional = [column for column in OPTIONAL if column in bars.columns]
    return bars.with_columns((pl.col("open_time") + interval.delta).cast(TIME).alias("close_time")).select(
        "symbol", "open_time", "close_time", *PRICES, "volume", *optional
    )


def canonical(frame: pl.DataFrame) -> pl.DataFrame:
    """Sort candles that arrived in any order and drop identical repetitions; `validate` refuses conflicting ones."""
    return frame.unique().sort("symbol", "close_time")


def closed(frame: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Keep the candles that are closed at `now`, the exchange's time, not ours."""
    return frame.filter(pl.col("close_time") <= pl.lit(now, TIME))


def validate(frame: pl.DataFrame, interval: Interval) -> None:
    """Refuse a candle frame on which no decision may rest.

    A bar without trades (volume 0) is real and passes.

    Raises:
        DataError: empty, NaN, infinite, not positive, high < low, open or close outside them, unsorted, duplicated, off
            the epoch grid, with a gap, or with a partial last bar; the message names symbol, time and row (from 1).
    """
    if frame.is_empty():
        raise DataError("There are no candles; give a period in which the symbol was traded.")
    missing = [
        column for column in ("symbol", "open_time", "close_time", *PRICES, "volume") if column not in frame.columns
    ]
    if missing:
        raise DataError(f"The candles have no column {', '.join(missing)}; {_FETCH_AGAIN}.")
    for checks in (_value_checks(frame), _time_checks(interval, frame.columns)):
        for fault in _faults(frame, checks, first=True):
            raise DataError(f"The {_named(frame, fault.row, interval)} {fault.reason}; {_FETCH_AGAIN}.")


def faults(frame: pl.DataFrame, interval: Interval) -> list[Fault]:
    """Return everything that `validate` would refuse, by row; a row counts once, for the first of its faults."""
    checks = [*_value_checks(frame), *_time_checks(interval, frame.columns)]
    found: dict[int, Fault] = {}
    for fault in _faults(frame, checks):
        found.setdefault(fault.row, fault)
    return [found[row] for row in sorted(found)]


def _value_checks(frame: pl.DataFrame) -> list[_Check]:
    amounts = ["volume", *(column for column in ("quote_volume",) if column in frame.columns)]
    optional = [column for column in OPTIONAL if column in frame.columns]
    always = [*PRICES, "volume"]
    within = [pl.col(column).is_between(pl.col("low"), pl.col("high")) for column in ("open", "close")]
    checks = [
        (
            ~pl.all_horizontal(pl.col(always).is_finite().fill_null(False)),
            "impossible",
            "has a missing, NaN or infinite value",
        ),
        (~pl.all_horizontal(pl.col(PRICES) > 0), "impossible", "has a price that is not positive"),
        (~pl.all_horizontal((pl.col(amounts) >= 0).fill_null(True)), "impossible", "has a negative volume"),
        (pl.col("high") < pl.col("low"), "impossible", "has its high below its low"),
        (~pl.all_horizontal(within), "impossible", "opens or closes outside its high and low"),
    ]
    if optional:
        usable = pl.all_horizontal(pl.col(optional).is_finite().fill_null(True))
        checks.insert(1, (~usable, "impossible", "has a NaN or infinite value"))
    return checks


def _time_checks(interval: Interval, columns: Sequence[str]) -> list[_Check]:
    opened = pl.col("open_time").dt.timestamp("ms")
    step = opened.diff().over("symbol")
    last = pl.int_range(pl.len()).over("symbol") == pl.len().over("symbol") - 1
    values = [pl.col(column) for column in columns if column not in ("symbol", "open_time", "close_time")]
    same = pl.all_horizontal(value.eq_missing(value.shift(1)) for value in values).over("symbol")
    off_grid = opened % interval.milliseconds != 0
    gap = step > interval.milliseconds
    irregular = (off_grid | (pl.col("close_time") != pl.col("open_time") + interval.delta)).fill_null(True)
    partial = last & irregular & ~irregular.shift(1).over("symbol").fill_null(True)
    return [
        (pl.col("symbol").is_null() | pl.col("open_time").is_null(), "nameless", "has no symbol or no time"),
        (
            (pl.col("symbol") < pl.col("symbol").shift(1)).fill_null(False),
            "unsorted",
            "is not in the order of its symbols",
        ),
        ((step < 0).fill_null(False), "unsorted", "is older than the candle before it (the candles are not sorted)"),
        (((step == 0) & same).fill_null(False), "duplicate", "repeats the candle before it"),
        ((step == 0).fill_null(False), "duplicate", "contradicts the candle before it, which has the same time"),
        (partial, "partial", "is partial: it does not begin where the candle before it ends"),
        (irregular, "off_grid", "is off the epoch grid in UTC"),
        (gap.fill_null(False), "gap", "follows a gap: the candle before it is missing"),
    ]


def _faults(frame: pl.DataFrame, checks: Sequence[_Check], *, first: bool = False) -> Iterator[Fault]:
    """Yield faults check by check; with `first` only the first row of each."""
    marks = frame.select(condition.alias(str(number)) for number, (condition, _, _) in enumerate(checks))
    for number, (_, kind, reason) in enumerate(checks):
        mark = marks[str(number)]
        if mark.any():
            rows = [mark.arg_max() or 0] if first else mark.arg_true().to_list()
            yield from (Fault(row, kind, reason) for row in rows)


def _named(frame: pl.DataFrame, row: int, interval: Interval) -> str:
    symbol, opened = frame["symbol"][row], frame["open_time"][row]
    moment = "without a time" if opened is None else f"that opens at {opened:%Y-%m-%dT%H:%M:%SZ}"
    return f"{symbol} {interval} candle {moment} (row {row + 1})"
