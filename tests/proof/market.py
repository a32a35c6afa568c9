"""A small market for the proof: forty days of one-hour bars with funding, every price different from the last.

It has one symbol, or the twenty of a basket, each a little apart from the others.
"""

import math
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path

import polars as pl

from trader.domain.interval import Interval
from trader.sim.tape import Tape, load_tape

SYMBOL = "ADAUSDT"
BASKET = tuple(f"LEG{number:02}USDT" for number in range(20))
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
HOURS = 24 * 40
INTERVAL = Interval.parse("16h")
FIRST = INTERVAL.floor(BEGIN + timedelta(days=21))
"""The close at which the story begins."""


def closes(count: int) -> list[datetime]:
    """Return the first closes of the story."""
    return [FIRST + number * INTERVAL.delta for number in range(count)]


def turn(symbol: str) -> int:
    """Return the number of a symbol in its basket, 0 for one alone."""
    return BASKET.index(symbol) if symbol in BASKET else 0


@cache
def _opens(symbol: str) -> list[float]:
    return opens(symbol)


def opens(symbol: str) -> list[float]:
    """Return the open of every hour."""
    apart = turn(symbol)
    return [round(0.5 + 0.01 * math.sin(hour / 5 + apart) + 0.00001 * (hour % 7), 5) for hour in range(HOURS + 1)]


def close_prices(symbol: str) -> dict[int, float]:
    """Return the close of every whole candle by its close time in milliseconds, by plain arithmetic."""
    begin, hours = round(BEGIN.timestamp() * 1000), opens(symbol)
    times = {begin + hour * 3_600_000: hours[hour] for hour in range(1, HOURS + 1)}
    return {time: price for time, price in times.items() if time % (16 * 3_600_000) == 0}


def span(symbol: str, since: int, until: int) -> tuple[float, float]:
    """Return the lowest and the highest price of the bars about a span of moments, in milliseconds."""
    first, last = ((moment - round(BEGIN.timestamp() * 1000)) // 3_600_000 for moment in (since, until))
    prices = _opens(symbol)[max(first - 1, 0) : last + 3]
    return min(prices) - 0.0005, max(prices) + 0.0005


@cache
def tape(folder: Path, symbols: tuple[str, ...]) -> Tape:
    """Write the market into a folder and read it as the exchange does."""
    times = [BEGIN + timedelta(hours=hour) for hour in range(HOURS)]
    candles, funding = [], []
    for symbol in symbols:
        prices = opens(symbol)
        candles.append(
            pl.DataFrame(
                {
                    "symbol": symbol,
                    "open_time": times,
                    "open": prices[:-1],
                    "high": [round(max(pair) + 0.0005, 5) for pair in pairwise(prices)],
                    "low": [round(min(pair) - 0.0005, 5) for pair in pairwise(prices)],
                    "close": prices[1:],
                    "volume": [1000.0 + hour for hour in range(HOURS)],
                }
            )
        )
        paid = times[::8]
        rates = [0.0001 * (-1) ** number for number in range(len(paid))]
        funding.append(pl.DataFrame({"symbol": symbol, "funding_time": paid, "funding_rate": rates}))
    pl.concat(candles).write_parquet(folder / "market_1h.parquet")
    pl.concat(funding).write_parquet(folder / "market_funding.parquet")
    return load_tape(folder / "market_1h.parquet", folder / "market_funding.parquet")
