"""One symbol's market as a sweep sees it: arrays by close, with the bars between closes behind them."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from trader.domain.interval import Interval
from trader.errors import DataError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bars:
    """What happened between closes: the bars of `at[k]` up to `at[k + 1]` end after close k and at or before the next.

    `low` and `high` are the worst prices inside a bar, `after` the first price after it, `paid` the funding that one
    unit of base held long paid in it, in USDT.
    """

    at: NDArray[np.int64]
    low: Floats
    high: Floats
    after: Floats
    paid: Floats

    @cached_property
    def worst(self) -> tuple[Floats, Floats]:
        """Return the lowest and the highest price a position meets between each close and the next."""
        between = self.at[:-1]
        lowest = np.minimum.reduceat(np.minimum(self.low, self.after), between)
        return lowest, np.maximum.reduceat(np.maximum(self.high, self.after), between)


@dataclass(frozen=True)
class Path:
    """What a position meets, close by close.

    `prices` are the first prices after each close, where orders fill and everything is marked. `funding` is what one
    unit of base held long has paid up to each close, in USDT, cumulative. Without `bars` nothing is known between
    closes, and nothing is liquidated there.
    """

    prices: Floats
    funding: Floats
    bars: Bars | None = None
    closes: tuple[datetime, ...] = ()

    @classmethod
    def of_prices(cls, prices: ArrayLike) -> "Path":
        """Make a path of nothing but prices."""
        values = np.asarray(prices, dtype=np.float64)
        return cls(values, np.zeros(len(values)))

    @classmethod
    def of(
        cls,
        candles: pl.DataFrame,
        source: Interval,
        interval: Interval,
        funding: pl.DataFrame | None = None,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> "Path":
        """Cut a tape at the closes of an interval, as the backtest does.

        Args:
            candles: a candle frame of one symbol, of `source` bars without gaps.
            source: the length of the tape's bars; it divides `interval`.
            interval: whose closes are decided on.
            funding: columns symbol, funding_time, funding_rate (positive: longs pay), or None.
            start: the first close not before it; else the first of the tape.
            end: the last close not after it; else the last of the tape.

        Raises:
            DataError: the candles hold several symbols, or no two closes lie in the window.
        """
        symbols = candles["symbol"].unique()
        if symbols.len() != 1:
            raise DataError(f"A path is of one symbol and the candles hold {symbols.len()}; filter them first.")
        opened, ended = candles["open_time"][0], candles["close_time"][-1]
        closes = tuple(interval.closes(max(start or opened, opened), min(end or ended, ended)))
        if len(closes) < 2:
            raise DataError(f"No two closes of {interval} lie in the window of the candles; widen it.")
        opens = candles["open"].to_numpy()
        after = np.append(opens[1:], candles["close"][-1])
        begins = np.append(_milliseconds(candles["open_time"]), _milliseconds(candles["close_time"])[-1])
        at = np.searchsorted(begins, _milliseconds(pl.Series(closes)))
        paid = _paid(candles, source, funding) * after
        total = np.concatenate(([0.0], np.cumsum(paid)))
        bars = Bars(at, candles["low"].to_numpy(), candles["high"].to_numpy(), after, paid)
        return cls(np.append(opens, candles["close"][-1])[at], total[at] - total[at[0]], bars, closes)


def _milliseconds(times: pl.Series) -> NDArray[np.int64]:
    return times.dt.epoch("ms").to_numpy()


def _paid(candles: pl.DataFrame, source: Interval, funding: pl.DataFrame | None) -> Floats:
    """Return the rate stamped in each bar; stamps in (open, close] belong to it."""
    ends = _milliseconds(candles["close_time"])
    rates = np.zeros(len(ends))
    if funding is None:
        if "funding_rate" in candles.columns:
            rates += candles["funding_rate"].fill_null(0.0).to_numpy()
        return rates
    own = funding.filter(pl.col("symbol") == candles["symbol"][0])
    length = source.milliseconds
    stamps = -(-_milliseconds(own["funding_time"]) // length) * length
    place = np.searchsorted(ends, stamps)
    inside = place < len(ends)
    inside[inside] = ends[place[inside]] == stamps[inside]
    np.add.at(rates, place[inside], own["funding_rate"].to_numpy()[inside])
    return rates
