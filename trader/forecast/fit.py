"""Exact linear fits in float64: least absolute deviations by vertex descent, least squares in closed form."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from trader.errors import DataError
from trader.forecast.vertex import descend

Array = NDArray[np.float64]

_PROOF = 1e-12  # of the target's scale, in mean absolute residual
_AT_ONCE = 200_000  # numbers of a design worked on at once, so that they stay in the cache


@dataclass(frozen=True, slots=True)
class Fit:
    """A linear fit: target ~ bias + features @ weights.

    `loss` is the mean absolute or mean squared residual, `gap` how far above the least possible loss it is at most.
    """

    weights: tuple[float, ...]
    bias: float
    loss: float
    gap: float


def fit_l1(features: Array, target: Array) -> Fit:
    """Fit the least mean absolute residual, exactly.

    `features` is (rows, lags), `target` (rows,). A feature that depends linearly on those before it has weight 0.

    Raises:
        DataError: too few rows, numbers that are not finite, or features so nearly dependent that no fit can be proven.
    """
    return fit_l1_each(features[None], target[None])[0]


def fit_l1_each(features: Array, target: Array, used: NDArray[np.bool_] | None = None) -> list[Fit]:
    """Fit the least mean absolute residual of many problems of equal length at once; each fit is as if it were alone.

    `features` is (fits, rows, lags), `target` (fits, rows), `used` (fits, lags) says which lags a fit may use (all,
    unless given); a `Fit` has weights for these only. Broadcast arrays are welcome.

    Raises:
        DataError: as `fit_l1`.
    """
    fits, rows, lags = features.shape
    used = np.ones((fits, lags), dtype=bool) if used is None else used
    chunk = max(1, _AT_ONCE // max(1, rows * (lags + 1)))
    parts = (slice(start, start + chunk) for start in range(0, fits, chunk))
    return [fit for part in parts for fit in _fit_l1_chunk(features[part], target[part], used[part])]


def _fit_l1_chunk(features: Array, target: Array, used: NDArray[np.bool_]) -> list[Fit]:
    features, target = _checked(features, target, int(used.sum(axis=1).max()))
    fits, rows, lags = features.shape
    # Scaling by powers of two is exact and lets one tolerance serve all columns.
    scale, height = _power_of_two(features, axis=1), _power_of_two(target, axis=1)
    design = np.empty((fits, lags + 1, rows))
    design[:, 0] = 1.0
    np.divide(features.transpose(0, 2, 1), scale[:, :, None], out=design[:, 1:])
    bias = np.ones((fits, 1), dtype=bool)
    best = descend(design, target / height[:, None], np.hstack([bias, used]))
    parameters = best.parameters * height[:, None]
    parameters[:, 1:] /= scale
    found = []
    for fit in range(fits):
        weights, level = parameters[fit, 1:][used[fit]], float(parameters[fit, 0])
        seen = np.ascontiguousarray(features[fit][:, used[fit]])
        loss = float(np.mean(np.abs(target[fit] - level - seen @ weights)))
        gap = loss - float(best.bound[fit] * height[fit])
        if not gap <= _PROOF * height[fit]:
            raise DataError(
                f"The L1 fit of {len(weights)} lags could not be proven optimal (it may be {gap:.1e} above the least "
                "loss) because the lags nearly depend on each other; use fewer lags or more rows."
            )
        found.append(Fit(tuple(weights.tolist()), level, loss, max(gap, 0.0)))
    return found


def subsets(pool: int, largest: int) -> NDArray[np.bool_]:
    """Return every choice of 1 to `largest` of a pool of lags, small ones first, as (choices, pool)."""
    chosen = [some for size in range(1, largest + 1) for some in combinations(range(pool), size)]
    used = np.zeros((len(chosen), pool), dtype=bool)
    for row, some in enumerate(chosen):
        used[row, list(some)] = True
    return used


def fit_mse(features: Array, target: Array) -> Fit:
    """Fit the least mean squared residual (ordinary least squares).

    `features` is (rows, lags), `target` (rows,). Where features depend on each other, the smallest weights are taken.

    Raises:
        DataError: too few rows, or numbers that are not finite.
    """
    features, target = _checked(features, target, features.shape[1])
    # Taking the means out first is the intercept, and keeps the digits of features that hardly vary.
    center, level = features.mean(axis=0), float(target.mean())
    weights = np.linalg.lstsq(features - center, target - level, rcond=None)[0]
    bias = level - float(center @ weights)
    loss = float(np.mean((target - bias - features @ weights) ** 2))
    return Fit(tuple(weights.tolist()), bias, loss, 0.0)


FITS: dict[str, Callable[[Array, Array], Fit]] = {"l1": fit_l1, "mse": fit_mse}


def _checked(features: Array, target: Array, lags: int) -> tuple[Array, Array]:
    rows = features.shape[-2]
    if rows != target.shape[-1] or rows <= lags:
        raise DataError(f"{rows} rows are too few to fit {lags} lags and a bias; give a longer history or fewer lags.")
    if not (np.isfinite(features).all() and np.isfinite(target).all()):
        raise DataError("A return to be fitted is NaN or infinite; look at the candles it comes from.")
    # One layout in memory, because a product may add in another order in another layout.
    return np.ascontiguousarray(features, dtype=np.float64), np.ascontiguousarray(target, dtype=np.float64)


def _power_of_two(numbers: Array, axis: int) -> Array:
    largest = np.abs(numbers).max(axis=axis)
    return np.asarray(np.exp2(np.floor(np.log2(np.where(largest > 0, largest, 1.0)))))
