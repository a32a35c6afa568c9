"""From the size of a forecast to the probability that its sign is right, and whether that probability tells the truth.

The log odds of a right sign grow in proportion to the size: a forecast of nothing is a coin toss, and a larger one is
never less certain. The one number is fitted, by maximum likelihood, to rows the weights were fitted to as well; what
it is worth shows on the rows that no fit has seen.
"""

import numpy as np
from numpy.typing import NDArray

from trader.forecast.card import Bin, Calibration
from trader.forecast.features import significant

Array = NDArray[np.float64]

_BINS = 5
_RIDGE = 1e-3  # keeps the odds finite where every sign of a short history is right
_STEPS = 100


def right_signs(forecast: Array, target: Array) -> Array:
    """Return 1 where the sign was right, 0 where it was wrong, and a half where either says nothing."""
    return np.asarray((1 + np.sign(forecast) * np.sign(target)) / 2)


def odds_slope(sizes: Array, right: Array) -> float:
    """Return the log odds of a right sign per unit of size, never negative, by maximum likelihood.

    `sizes` is |forecast| over the residual deviation, (rows,); `right` as `right_signs` says. Rounded to 12 digits.
    """
    slope = 0.0
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(slope * sizes, 0.0, 700.0)))
        gradient = float(sizes @ (right - chance)) - _RIDGE * slope
        curvature = float(sizes**2 @ (chance * (1 - chance))) + _RIDGE
        # A full Newton step may overshoot the only maximum; past twice the size of a certain sign nothing is gained.
        step = float(np.clip(gradient / curvature, -4.0, 4.0))
        slope = max(0.0, slope + step)
        if abs(step) <= 1e-14 * (1 + slope):
            break
    return float(significant(np.array([slope]))[0])


def reliability(confidence: Array, right: Array) -> Calibration:
    """Compare probabilities with what came true, in bins of equal count from the least confident to the most.

    The Brier score is the mean squared distance of the two; always saying a half has 0.25.
    """
    rows = len(confidence)
    order = np.argsort(confidence, kind="stable")
    bins = (
        [
            Bin(
                predicted=_digits(float(confidence[some].mean())),
                observed=_digits(float(right[some].mean())),
                count=len(some),
            )
            for some in np.array_split(order, min(_BINS, rows))
        ]
        if rows
        else []
    )
    brier = _digits(float(((confidence - right) ** 2).mean())) if rows else None
    return Calibration(rows=rows, brier=brier, bins=tuple(bins))


def _digits(number: float) -> float:
    return float(significant(np.array([number]), 10)[0])
