"""What a rule earned, candle by candle: its side times the log return, less what trading and holding cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from trader.domain.interval import Interval
from trader.execution.fills import Costs
from trader.forecast.features import log_returns
from trader.research.evidence.sharpe import sharpe

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Candles:
    """What candles of one symbol returned: one row a candle, beginning with the second.

    `close_times` are UTC, `returns` the log of close over the close before, `rates` the funding that longs paid in the
    candle (stamps in (open, close]), as a fraction of notional; None where nobody knows it, NaN where one candle's is
    not known.
    """

    interval: Interval
    close_times: list[datetime]
    returns: Array
    rates: Array | None

    @classmethod
    def of(cls, frame: pl.DataFrame, interval: Interval, funding: pl.DataFrame | None) -> "Candles":
        """Read a candle frame of one symbol and that interval; funding comes from `funding`, else from the frame.

        Raises:
            DataError: `funding` has none of that symbol.
        """
        rows = frame.select("close_time", log_returns().alias("return"))[1:]
        closes = rows["close_time"]
        rates: Array | None = None
        if funding is not None:
            rates = _summed(closes, interval, funding, str(frame["symbol"][0]))
        elif "funding_rate" in frame.columns:
            rates = frame["funding_rate"][1:].cast(pl.Float64).fill_null(np.nan).to_numpy()
        return cls(interval, closes.to_list(), rows["return"].to_numpy(), rates)

    def part(self, rows: slice) -> "Candles":
        """Return some of the candles, whose funding is not known where that of one of them is not."""
        rates = None if self.rates is None else self.rates[rows]
        if rates is not None and np.isnan(rates).any():
            rates = None
        return Candles(self.interval, self.close_times[rows], self.returns[rows], rates)


def held(forecasts: ArrayLike) -> Array:
    """Return the side (-1, 0, 1) that each forecast asks for; one of exactly zero keeps the side before it."""
    signs = np.sign(np.asarray(forecasts, dtype=np.float64))
    latest = np.maximum.accumulate(np.where(signs != 0, np.arange(len(signs)), 0))
    return np.asarray(signs[latest])


def per_side(costs: Costs) -> float:
    """Return what one unit of notional costs to trade: taker fee, slippage and half the spread."""
    return float(costs.fee + costs.slippage + costs.spread / 2)


def net(sides: Array, candles: Candles, cost: float) -> Array:
    """Return what sides earned after costs and, where it is known, funding.

    `cost` is paid on every unit of notional traded: once for going in, twice for a turn from long to short.
    """
    earned = sides * candles.returns - cost * np.abs(np.diff(sides, prepend=0.0))
    return earned if candles.rates is None else earned - sides * candles.rates


def performance(sides: Array, candles: Candles, cost: float) -> dict[str, float | int | None]:
    """Measure a rule: Sharpe ratios a year and total log returns, before and after costs, and its changes of side."""
    gross, left = sides * candles.returns, net(sides, candles, cost)
    return {
        "sharpe": annual(gross, candles.interval),
        "net_sharpe": annual(left, candles.interval),
        "total_log_return": float(gross.sum()),
        "net_log_return": float(left.sum()),
        "changes_of_side": int(np.count_nonzero(np.diff(sides, prepend=0.0))),
    }


def annual(returns: Array, interval: Interval) -> float | None:
    """Return the Sharpe ratio a year; None where nothing varies."""
    ratio = sharpe(returns)
    return None if ratio is None else ratio * float(np.sqrt(interval.per_year))


def simple_rules(rows: int) -> Mapping[str, Array]:
    """Return the sides of the rules that need no forecast."""
    return {"cash": np.zeros(rows), "always_long": np.ones(rows), "always_short": -np.ones(rows)}


def _summed(closes: pl.Series, interval: Interval, funding: pl.DataFrame, symbol: str) -> Array:
    own = funding.filter(pl.col("symbol") == symbol).sort("funding_time")
    stamps = own["funding_time"].dt.timestamp("ms").to_numpy()
    totals = np.concatenate([[0.0], np.cumsum(own["funding_rate"].to_numpy())])
    ends = closes.dt.timestamp("ms").to_numpy()
    upto = np.searchsorted(stamps, ends, side="right")
    before = np.searchsorted(stamps, ends - interval.milliseconds, side="right")
    return np.asarray(totals[upto] - totals[before])
