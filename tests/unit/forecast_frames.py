"""Candle frames made of closes alone, for tests of forecasts."""

from collections.abc import Sequence
from datetime import UTC, datetime

import polars as pl

from trader.domain.interval import Interval
from trader.market.candles import with_close

INTERVAL = Interval.parse("16h")
START = datetime(2024, 1, 1, 8, tzinfo=UTC)


def frame_of(closes: Sequence[float], symbol: str = "ADAUSDT", interval: Interval = INTERVAL) -> pl.DataFrame:
    opens = [START + row * interval.delta for row in range(len(closes))]
    bars = pl.DataFrame(
        {"symbol": [symbol] * len(closes), "open_time": opens, "close": closes},
        schema={"symbol": pl.String, "open_time": pl.Datetime("ms", "UTC"), "close": pl.Float64},
    ).with_columns(pl.col("close").alias(name) for name in ("open", "high", "low", "volume"))
    return with_close(bars, interval)
