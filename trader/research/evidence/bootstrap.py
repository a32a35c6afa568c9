"""Resampling that keeps what neighbouring returns share: the stationary bootstrap.

Sources: Politis and Romano, "The stationary bootstrap" (1994); its mean block length by Politis and White (2004) with
the correction of Patton, Politis and White (2009). Everything follows from the seed.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trader.research.evidence.sharpe import sharpe

Array = NDArray[np.float64]

_LEAST = 30  # returns below which no block length is estimated


def block_length(returns: ArrayLike) -> float:
    """Return the mean length of blocks that suits a series.

    It is 1 (independent draws) where nothing lasts, or too little is known. The autocovariances are summed under a
    flat-top window that ends where the autocorrelations have become, and for a while stay, too small to be told from
    none.
    """
    values = np.asarray(returns, dtype=np.float64)
    count = len(values)
    if count < _LEAST or sharpe(values) is None:
        return 1.0
    centred = values - values.mean()
    quiet = max(5, int(math.log10(count)))
    furthest = math.ceil(math.sqrt(count)) + quiet
    band = 2 * math.sqrt(math.log10(count) / count)
    covariance, correlation = _dependence(centred, furthest)
    window = _last_lag_that_matters(correlation, quiet, band)
    reach = furthest if window is None else min(2 * max(window, 1), furthest)
    lags = np.arange(1, reach + 1)
    weights = np.minimum(1.0, 2 * (1 - lags / reach))
    slope = 2 * float(np.sum(weights * lags * covariance[lags]))
    level = float(covariance[0]) + 2 * float(np.sum(weights * covariance[lags]))
    if level == 0:
        return 1.0
    best = float(((slope / level) ** 2 * count) ** (1 / 3))
    return max(1.0, min(best, float(math.ceil(min(3 * math.sqrt(count), count / 3)))))


def resample(count: int, block: float, generator: np.random.Generator) -> NDArray[np.int64]:
    """Draw `count` positions in blocks of geometric length with the mean `block`, wrapping at the end."""
    starts = generator.integers(count, size=count)
    begins = generator.random(count) <= 1 / block
    begins[0] = True
    positions = np.arange(count)
    latest = np.maximum.accumulate(np.where(begins, positions, 0))
    return (starts[latest] + positions - latest) % count


def resampled_means(
    columns: Array, block: float, replications: int, seed: int, step: Callable[[], object] | None = None
) -> Array:
    """Return the means of columns (rows, k) over so many resamples of their rows, as (replications, k).

    `step` is called once a resample.
    """
    generator = np.random.default_rng(seed)
    rows = len(columns)
    means = np.empty((replications, columns.shape[1]))
    for number in range(replications):
        drawn = np.bincount(resample(rows, block, generator), minlength=rows)
        means[number] = drawn @ columns / rows
        if step is not None:
            step()
    return means


def percentile_interval(values: Array, level: float = 0.95) -> tuple[float, float]:
    """Return the middle `level` of values."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _dependence(centred: Array, furthest: int) -> tuple[Array, Array]:
    """Return the autocovariances and absolute autocorrelations of lags 0 to `furthest`."""
    count = len(centred)
    covariance, correlation = np.zeros(furthest + 1), np.zeros(furthest + 1)
    for lag in range(furthest + 1):
        product = float(centred[lag:] @ centred[: count - lag])
        later, earlier = centred[lag + 1 :], centred[: count - lag - 1]
        size = math.sqrt(float(later @ later) * float(earlier @ earlier))
        covariance[lag] = product / count
        correlation[lag] = abs(product) / size if size > 0 else 0.0
    return covariance, correlation


def _last_lag_that_matters(correlation: Array, quiet: int, band: float) -> int | None:
    for lag in range(quiet, len(correlation)):
        if (correlation[lag - quiet : lag] < band).all():
            return lag - quiet
    return None
