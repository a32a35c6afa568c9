"""Whether a chosen rule is better than a simple one, or only the luckiest of those that were tried.

Hansen, "A test for superior predictive ability" (2005), with the means of all candidates resampled together.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Superiority:
    """How often luck alone would have looked as good.

    `p_value` is Hansen's consistent one; `lower` forgives every candidate that did worse than the benchmark, `upper`
    none (White's reality check).
    """

    p_value: float
    lower: float
    upper: float


def superiority(gains: Array, resampled: Array, block: float, chosen: int = 0) -> Superiority:
    """Test one of several candidates against a benchmark, minding that it was chosen among them.

    Args:
        gains: what each candidate earned above the benchmark, (rows, candidates).
        resampled: means of the same columns over resamples of the rows, (replications, candidates).
        block: the mean block length of those resamples.
        chosen: the candidate in question; Hansen's statistic is the best one's, and any other has a harder test.

    A candidate that earned no more than the benchmark has p = 1.
    """
    rows = len(gains)
    means = gains.mean(axis=0)
    hopeless = -np.sqrt(_long_run_variance(gains, block) / rows * 2 * math.log(math.log(rows)))
    centres = (
        np.where(means >= hopeless, means, 0.0),
        np.maximum(means, 0.0),
        means,
    )
    observed = max(float(means[chosen]), 0.0)
    found = []
    for centre in centres:
        luckiest = np.maximum((resampled - centre).max(axis=1), 0.0)
        found.append(float((luckiest >= observed).mean()))
    return Superiority(*found)


def _long_run_variance(gains: Array, block: float) -> Array:
    """Return the variance of the root of rows times the mean of each column, as the stationary bootstrap has it."""
    rows = len(gains)
    centred = gains - gains.mean(axis=0)
    variance = np.asarray((centred**2).mean(axis=0))
    stay = 1 - 1 / block
    for lag in range(1, rows):
        weight = (1 - lag / rows) * stay**lag + lag / rows * stay ** (rows - lag)
        if weight > 1e-15:
            variance = variance + 2 * weight * np.einsum("ij,ij->j", centred[:-lag], centred[lag:]) / rows
    return np.asarray(np.maximum(variance, 0.0))
