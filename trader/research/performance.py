"""What an account earned, in money and after costs; beside what the signal earned close to close (`metrics`)."""

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trader.domain.interval import Interval
from trader.execution.round_trips import RoundTrip
from trader.research.metrics import Metrics


def equity_performance(equity: ArrayLike, start: float, interval: Interval) -> Metrics:
    """Measure marked equity, one value a close after that close's fills, from the money it started with.

    Returns are simple, one a candle; the costs of the first close belong to the first candle. A year has 365 days.
    `sharpe` and `sortino` are annualised and against no interest; `sortino` divides by the root of the mean squared
    loss over all candles. `max_drawdown` is the largest loss from a peak as a fraction of the peak, at least 0,
    `longest_drawdown` the most candles in a row below a peak, `calmar` the annual return over the largest drawdown.
    What cannot be said is None: nothing annual where the account was ruined, no ratio to zero.
    """
    path = np.concatenate(([start], np.asarray(equity, dtype=np.float64)[1:]))
    candles = len(path) - 1
    if candles < 1 or start <= 0:
        names = ("total_return", "annual_return", "annual_volatility", "sharpe", "sortino", "calmar")
        return {"candles": max(candles, 0)} | dict.fromkeys((*names, "max_drawdown", "longest_drawdown"))
    with np.errstate(divide="ignore", invalid="ignore"):
        returns = path[1:] / path[:-1] - 1
    ruined = bool((path <= 0).any())
    growth = None if ruined else float((path[-1] / start) ** (interval.per_year / candles) - 1)
    peak = np.maximum.accumulate(path)
    drawdown = float((1 - path / peak).max())
    return {
        "candles": candles,
        "total_return": float(path[-1] / start - 1),
        "annual_return": growth,
        **({"annual_volatility": None, "sharpe": None, "sortino": None} if ruined else _ratios(returns, interval)),
        "calmar": growth / drawdown if growth is not None and drawdown > 0 else None,
        "max_drawdown": drawdown,
        "longest_drawdown": _longest(path < peak),
    }


def _ratios(returns: NDArray[np.float64], interval: Interval) -> Metrics:
    year = float(np.sqrt(interval.per_year))
    mean = float(returns.mean())
    deviation = float(returns.std(ddof=1)) if len(returns) > 1 else None
    downside = float(np.sqrt(np.mean(np.minimum(returns, 0.0) ** 2)))
    return {
        "annual_volatility": None if deviation is None else deviation * year,
        "sharpe": mean / deviation * year if deviation else None,
        "sortino": mean / downside * year if downside else None,
    }


def _longest(below: NDArray[np.bool_]) -> int:
    """Return the length of the longest run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], below, [False]))))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def trade_performance(trips: Sequence[RoundTrip], start: Decimal) -> Metrics:
    """Measure round trips, each net of its fees and funding; one that is still open counts in the money alone.

    `hit_rate` is the share that earned something, `profit_factor` what winners earned over what losers lost,
    `average_win` and `average_loss` are net over notional at entry. `cost_share` is fees and funding paid over the
    profit before them, None where there was none; spread and slippage are in the prices and thus in that profit.
    `gross_return`, `fee_return` and `funding_return` are shares of the starting equity that add up to the net one.
    """
    ended = [trip for trip in trips if trip.exit_time is not None]
    nets = [trip.net for trip in ended]
    returns = [trip.net_return for trip in ended if trip.net_return is not None]
    won, lost = sum((net for net in nets if net > 0), Decimal(0)), -sum((net for net in nets if net < 0), Decimal(0))
    gross = sum((trip.gross for trip in trips), Decimal(0))
    fees = sum((trip.fees for trip in trips), Decimal(0))
    funding = sum((trip.funding for trip in trips), Decimal(0))
    return {
        "round_trips": len(ended),
        "hit_rate": sum(net > 0 for net in nets) / len(nets) if nets else None,
        "profit_factor": float(won / lost) if lost else None,
        "average_win": _mean([one for one in returns if one > 0]),
        "average_loss": _mean([one for one in returns if one < 0]),
        "best_trade": float(max(returns)) if returns else None,
        "worst_trade": float(min(returns)) if returns else None,
        "gross_return": float(gross / start) if start else None,
        "fee_return": float(-fees / start) if start else None,
        "funding_return": float(funding / start) if start else None,
        "cost_share": float((fees - funding) / gross) if gross > 0 else None,
    }


def _mean(values: Sequence[Decimal]) -> float | None:
    return float(sum(values, Decimal(0)) / len(values)) if values else None
