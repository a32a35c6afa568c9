"""A small market for the proof: two months of one-hour bars with funding, every price different from the last."""

import math
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path

import polars as pl

from trader.domain.interval import Interval
from trader.sim.tape import Tape, load_tape

SYMBOL = "ADAUSDT"
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
HOURS = 24 * 40
INTERVAL = Interval.parse("16h")
FIRST = INTERVAL.floor(BEGIN + timedelta(days=21))
"""The close at which the story begins."""


def closes(count: int) -> list[datetime]:
    """Return the first closes of the story."""
    return [FIRST + number * INTERVAL.delta for number in range(count)]


def opens() -> list[float]:
    """Return the open of every hour."""
    return [round(0.5 + 0.01 * math.sin(hour / 5) + 0.00001 * (hour % 7), 5) for hour in range(HOURS + 1)]


def close_prices() -> dict[int, float]:
    """Return the close of every whole candle by its close time in milliseconds, by plain arithmetic."""
    begin, hours = round(BEGIN.timestamp() * 1000), opens()
    times = {begin + hour * 3_600_000: hours[hour] for hour in range(1, HOURS + 1)}
    return {time: price for time, price in times.items() if time % (16 * 3_600_000) == 0}


@cache
def tape(folder: Path) -> Tape:
    """Write the market into a folder and read it as the exchange does."""
    times = [BEGIN + timedelta(hours=hour) for hour in range(HOURS)]
    prices = opens()
    candles = pl.DataFrame(
        {
            "open_time": times,
            "open": prices[:-1],
            "high": [round(max(pair) + 0.0005, 5) for pair in pairwise(prices)],
            "low": [round(min(pair) - 0.0005, 5) for pair in pairwise(prices)],
            "close": prices[1:],
            "volume": [1000.0 + hour for hour in range(HOURS)],
        }
    )
    paid = times[::8]
    funding = pl.DataFrame({"funding_time": paid, "funding_rate": [0.0001 * (-1) ** n for n in range(len(paid))]})
    candles.write_parquet(folder / f"{SYMBOL}_1h.parquet")
    funding.write_parquet(folder / f"{SYMBOL}_funding.parquet")
    return load_tape(folder / f"{SYMBOL}_1h.parquet", folder / f"{SYMBOL}_funding.parquet", None)
