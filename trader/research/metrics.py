"""What a signal earned close to close, before costs, by the definitions of the research it comes from."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from trader.domain.interval import Interval

Metrics = dict[str, float | None]


def signal_metrics(signals: ArrayLike, returns: ArrayLike, interval: Interval) -> Metrics:
    """Measure sign(signal) times the log return of the candle that follows it.

    A signal of 0 is no position: its row counts in `n`, earns nothing and is no win. `ev` is the mean over all rows,
    `std` the sample deviation (ddof 1), `sharpe` ev / std * sqrt(candles per year); `compound_return` is the factor
    exp(total); `max_drawdown_log` is negative; `equity_peak` and `equity_trough` are extremes of the cumulative log
    return. What cannot be said is None.
    """
    trades = np.sign(np.asarray(signals, dtype=np.float64)) * np.asarray(returns, dtype=np.float64)
    rows = len(trades)
    wins, losses = trades[trades > 0], trades[trades < 0]
    equity = np.cumsum(trades)
    deviation = float(trades.std(ddof=1)) if rows > 1 else None
    mean = float(trades.mean()) if rows else None
    return {
        "n": rows,
        "win_rate": len(wins) / rows if rows else None,
        "average_win": float(wins.mean()) if len(wins) else None,
        "average_loss": float(losses.mean()) if len(losses) else None,
        "ev": mean,
        "total_log_return": float(equity[-1]) if rows else 0.0,
        "compound_return": float(np.exp(equity[-1])) if rows else 1.0,
        "max_drawdown_log": float((equity - np.maximum.accumulate(equity)).min()) if rows else None,
        "equity_peak": float(equity.max()) if rows else None,
        "equity_trough": float(equity.min()) if rows else None,
        "std": deviation,
        "sharpe": mean / deviation * float(np.sqrt(interval.per_year)) if mean is not None and deviation else None,
    }


def seed_metrics(signals: Sequence[float], closes: Sequence[float], interval: Interval) -> Metrics:
    """Measure signals given at closes; the last has no return yet and is left out."""
    prices = np.asarray(closes, dtype=np.float64)
    return signal_metrics(signals[: max(len(prices) - 1, 0)], np.log(prices[1:] / prices[:-1]), interval)
