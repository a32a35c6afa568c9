"""What is wrong with candles: everything, not only the first, and what another source says."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from trader.domain.interval import Interval
from trader.errors import DataError
from trader.market.candles import PRICES, faults, parse_bars, spacing
from trader.market.tables import TIME

# Amounts may have been summed in another order, or from rounded parts.
_SAME_PRICE = 1e-9
_SAME_AMOUNT = 1e-6


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, at a candle known by its close.

    `kind` is one of `market.candles.Fault`, or different, missing_here, missing_there where two sources are compared;
    `count` is how many candles it is about: those missing in a gap.
    """

    symbol: str
    interval: Interval
    kind: str
    close: datetime | None
    count: int
    what: str


def read_as_it_is(path: Path, symbol: str | None) -> tuple[pl.DataFrame, Interval]:
    """Read a candle file into candle columns in its own order, whatever is wrong with it, and tell its interval.

    Raises:
        DataError: it is no table of candles at all.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"The file {path} cannot be read: {error.strerror}; check its path and rights.") from error
    frame = parse_bars(data, path.name, symbol)
    return frame, spacing(frame)


def inspect(frame: pl.DataFrame, interval: Interval, now: datetime) -> list[Finding]:
    """List what is wrong with candles of one interval, in their order; a candle that ends after `now` is partial."""
    found = []
    opens, closes, symbols = (frame[name] for name in ("open_time", "close_time", "symbol"))
    for fault in faults(frame, interval):
        count, what = 1, f"the candle {fault.reason}"
        if fault.kind == "gap":
            count = round((opens[fault.row] - closes[fault.row - 1]) / interval.delta)
            what = f"{count} missing before it, from the close at {closes[fault.row - 1]:%Y-%m-%dT%H:%M:%SZ} on"
        found.append(Finding(symbols[fault.row] or "?", interval, fault.kind, closes[fault.row], count, what))
    for symbol, close in frame.filter(pl.col("close_time") > pl.lit(now, TIME)).select("symbol", "close_time").rows():
        found.append(Finding(symbol, interval, "partial", close, 1, "the candle is not closed yet"))
    return found


def compare(
    here: pl.DataFrame, here_interval: Interval, there: pl.DataFrame, there_interval: Interval
) -> list[Finding]:
    """List the candles on which two sources differ, by close, at the longer of their intervals.

    Only the stretch that both cover is compared.

    Raises:
        DataError: neither interval divides the other, or they have no stretch or symbol in common.
    """
    longer, shorter = max(here_interval, there_interval), min(here_interval, there_interval)
    if longer.minutes % shorter.minutes:
        raise DataError(
            f"{longer} candles cannot be compared with {shorter} ones; give candles that divide the others."
        )
    ours, theirs = _grouped(here, here_interval, longer), _grouped(there, there_interval, longer)
    spans = [side.select(pl.col("close_time").min().alias("a"), pl.col("close_time").max().alias("b")).row(0)
             for side in (ours, theirs)]  # fmt: skip
    symbols = set(ours["symbol"]) & set(theirs["symbol"])
    if not symbols or None in (*spans[0], *spans[1]) or max(spans[0][0], spans[1][0]) > min(spans[0][1], spans[1][1]):
        raise DataError("The two sources have no whole candle in common; give one of the same symbol and time.")
    first, last = max(spans[0][0], spans[1][0]), min(spans[0][1], spans[1][1])
    inside = pl.col("close_time").is_between(first, last) & pl.col("symbol").is_in(sorted(symbols))
    both = ours.filter(inside).join(
        theirs.filter(inside), on=["symbol", "close_time"], how="full", coalesce=True, suffix="_there"
    )
    return [
        finding
        for row in both.sort("symbol", "close_time").iter_rows(named=True)
        for finding in _differences(row, longer)
    ]


def _grouped(frame: pl.DataFrame, source: Interval, target: Interval) -> pl.DataFrame:
    """Build longer candles where all their parts are there; a hole leaves a candle out instead of refusing the rest."""
    rows = frame.unique(["symbol", "open_time"], keep="first").sort("symbol", "open_time")
    count = target.minutes // source.minutes
    return (
        rows.group_by(
            "symbol",
            pl.from_epoch(
                (pl.col("open_time").dt.timestamp("ms") // target.milliseconds + 1) * target.milliseconds,
                time_unit="ms",
            )
            .dt.replace_time_zone("UTC")
            .alias("close_time"),
            maintain_order=True,
        )
        .agg(
            pl.len().alias("parts"),
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col("volume").sum(),
        )
        .filter(pl.col("parts") == count)
        .drop("parts")
    )


def _differences(row: dict[str, Any], interval: Interval) -> list[Finding]:
    symbol, close = row["symbol"], row["close_time"]
    if row["open"] is None or row["open_there"] is None:
        kind = "missing_here" if row["open"] is None else "missing_there"
        where = "the first source" if row["open"] is None else "the second source"
        return [Finding(symbol, interval, kind, close, 1, f"{where} has no whole candle")]
    told = []
    for name in (*PRICES, "volume"):
        ours, theirs = row[name], row[f"{name}_there"]
        if abs(ours - theirs) > (_SAME_AMOUNT if name == "volume" else _SAME_PRICE) * max(abs(ours), abs(theirs)):
            told.append(f"{name} {ours:.10g} against {theirs:.10g}")
    return [Finding(symbol, interval, "different", close, 1, ", ".join(told))] if told else []
