"""Longer candles from shorter ones: whole bars on the epoch grid, or none."""

import numpy as np
import polars as pl

from trader.domain.interval import Interval
from trader.errors import DataError
from trader.market.candles import OPTIONAL, validate, with_close


def resample(frame: pl.DataFrame, source: Interval, target: Interval) -> pl.DataFrame:
    """Build `target` candles from a candle frame of `source` candles.

    Only bars all of whose source candles are there are built: an incomplete first or last group of a symbol is dropped.
    Volumes and funding are sums over the bar, added in the order of time.

    Raises:
        DataError: `target` is no multiple of `source`, or the frame has a hole or another fault that `validate` names.
    """
    if target.minutes % source.minutes:
        raise DataError(
            f"{target} candles cannot be built from {source} ones; give candles whose interval divides {target}."
        )
    validate(frame, source)
    count = target.minutes // source.minutes
    if count == 1:
        return frame
    bucket = pl.col("open_time").dt.timestamp("ms") // target.milliseconds
    whole = frame.filter(pl.len().over("symbol", bucket) == count)
    first = pl.int_range(pl.len()) % count == 0
    bars = whole.filter(first).select("symbol", "open_time", "open")
    columns = [
        pl.Series("high", _blocks(whole["high"], count).max(axis=1)),
        pl.Series("low", _blocks(whole["low"], count).min(axis=1)),
        pl.Series("close", _blocks(whole["close"], count)[:, -1]),
        *(_sums(whole[column], count) for column in ("volume", *OPTIONAL) if column in whole.columns),
    ]
    return with_close(bars.with_columns(columns), target)


def _blocks(column: pl.Series, count: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    # The frame has no holes, so that every run of `count` rows is one bar.
    return column.to_numpy().astype(np.float64).reshape(-1, count)


def _sums(column: pl.Series, count: int) -> pl.Series:
    # Column by column: a sum along rows may add in another order for another number of bars.
    blocks = _blocks(column, count)
    total = blocks[:, 0].copy()
    for position in range(1, count):
        total += blocks[:, position]
    return pl.Series(column.name, total).fill_nan(None)
