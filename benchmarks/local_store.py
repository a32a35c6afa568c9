"""Three years of 16h candles from the local store, against building them from daily files again, as research did."""

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.frame import Check, Row, interleaved
from benchmarks.trades_archive import archive, read_whole
from trader.domain.interval import Interval
from trader.market.candles import with_close
from trader.research.history.store import Store

DAYS = 3 * 365
START = datetime(2021, 1, 1, tzinfo=UTC)
HOUR, EVERY_16H = Interval.parse("1h"), Interval.parse("16h")
TRADES_A_DAY = 100_000


def measure() -> Row:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store")
        store.add(HOUR, hours())
        day = archive(Path(folder), TRADES_A_DAY)
        ours, again = interleaved(lambda: store.candles("ADAUSDT", EVERY_16H), lambda: read_whole(day), times=9)
    note = f"stored as 1h candles; the baseline is one day of {TRADES_A_DAY:,} trades measured, {DAYS} days by scaling"
    return Row(
        "three years of 16h candles from the store", ours, {"daily files": Check.faster(ours, again * DAYS, 1000)}, note
    )


def hours() -> pl.DataFrame:
    """Return three years of random whole hours."""
    count = DAYS * 24
    close = np.exp(np.cumsum(np.random.default_rng(3).normal(0, 0.005, count)))
    open_ = np.concatenate([[1.0], close[:-1]])
    table = pl.DataFrame(
        {
            "symbol": ["ADAUSDT"] * count,
            "open_time": pl.datetime_range(
                START, START + timedelta(days=DAYS), "1h", closed="left", time_unit="ms", time_zone="UTC", eager=True
            ),
            "open": open_,
            "high": np.maximum(open_, close),
            "low": np.minimum(open_, close),
            "close": close,
            "volume": np.full(count, 1e5),
            "quote_volume": np.full(count, 1e5),
        }
    )
    return with_close(table, HOUR)
