"""How far a Sharpe ratio may be believed, given its length, its tails and how many were tried.

Every ratio here is per candle, not annualised. Sources: Bailey and López de Prado, "The Sharpe ratio efficient
frontier" (2012) for the probabilistic ratio and the least track record; the same, "The deflated Sharpe ratio" (2014).
"""

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

_NORMAL = NormalDist()
_LEAST = 3  # returns below which skew and kurtosis say nothing


def sharpe(returns: ArrayLike) -> float | None:
    """Return mean over sample deviation (ddof 1); None where nothing varies."""
    values = np.asarray(returns, dtype=np.float64)
    deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    # what is left of equal numbers after rounding is no deviation
    if not deviation > 1e-13 * float(np.abs(values).max(initial=0.0)):
        return None
    return float(values.mean()) / deviation


def probabilistic_sharpe(returns: ArrayLike, benchmark: float = 0.0) -> float | None:
    """Return the probability that the true Sharpe ratio is above `benchmark`; None where it cannot be said."""
    values = np.asarray(returns, dtype=np.float64)
    ratio, spread = sharpe(values), _spread(values)
    if ratio is None or spread is None:
        return None
    return _NORMAL.cdf((ratio - benchmark) * math.sqrt(len(values) - 1) / math.sqrt(spread))


def expected_maximum(trials: int, deviation: float) -> float:
    """Return the Sharpe ratio that the best of `trials` worthless independent fits is expected to show.

    `deviation` is the standard deviation of the ratios of such fits. One trial is no choice: 0.
    """
    if trials <= 1:
        return 0.0
    gamma = float(np.euler_gamma)
    first = _NORMAL.inv_cdf(1 - 1 / trials)
    second = _NORMAL.inv_cdf(1 - 1 / (trials * math.e))
    return deviation * ((1 - gamma) * first + gamma * second)


def deflated_sharpe(returns: ArrayLike, trials: int, deviation: float) -> float | None:
    """Return the probability that the true Sharpe ratio is above 0, after a choice among so many trials."""
    return probabilistic_sharpe(returns, expected_maximum(trials, deviation))


def least_track_record(returns: ArrayLike, benchmark: float = 0.0, confidence: float = 0.95) -> float | None:
    """Return how many returns like these would make the probabilistic ratio reach `confidence`.

    None where no length would, because the ratio is not above the benchmark.
    """
    values = np.asarray(returns, dtype=np.float64)
    ratio, spread = sharpe(values), _spread(values)
    if ratio is None or spread is None or ratio <= benchmark:
        return None
    return 1 + spread * (_NORMAL.inv_cdf(confidence) / (ratio - benchmark)) ** 2


def _spread(values: NDArray[np.float64]) -> float | None:
    """Return what skew and kurtosis make of the variance of a Sharpe ratio, times the number of returns less one."""
    ratio = sharpe(values)
    if ratio is None or len(values) < _LEAST:
        return None
    centred = values - values.mean()
    centred = centred / np.abs(centred).max()
    variance = float((centred**2).mean())
    skew = float((centred**3).mean()) / variance**1.5
    kurtosis = float((centred**4).mean()) / variance**2
    spread = 1 - skew * ratio + (kurtosis - 1) / 4 * ratio**2
    return spread if spread > 0 else None
