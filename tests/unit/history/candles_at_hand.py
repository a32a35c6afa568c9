"""Whole candles whose prices follow from their times, so that any stretch agrees with any other."""

from datetime import UTC, datetime

import polars as pl

from trader.domain.interval import Interval
from trader.market.candles import with_close

HOUR, EIGHT = Interval.parse("1h"), Interval.parse("8h")
START = datetime(2023, 12, 30, tzinfo=UTC)


def bars(count: int, *, start: datetime = START, interval: Interval = HOUR, symbol: str = "ADAUSDT") -> pl.DataFrame:
    first = round((start - datetime(1970, 1, 1, tzinfo=UTC)) / interval.delta)
    price = [100.0 + (first + row) % 97 for row in range(count)]
    return with_close(
        pl.DataFrame(
            {
                "symbol": [symbol] * count,
                "open_time": pl.Series(
                    [start + interval.delta * row for row in range(count)], dtype=pl.Datetime("ms", "UTC")
                ),
                "open": price,
                "high": [one + 3 for one in price],
                "low": [one - 3 for one in price],
                "close": [one + 1 for one in price],
                "volume": [10.0] * count,
                "quote_volume": [1000.0] * count,
            }
        ),
        interval,
    )
