"""Exact linear fits in float64: least absolute deviations by vertex descent, least squares in closed form.

The least sum of absolute residuals is reached where as many residuals are zero as there are parameters (a vertex). From
one vertex an edge leads to the next: one zero residual is let go, and along the edge the sum is convex and piecewise
linear, so that its minimum is a weighted median, found by one sort. Where more residuals vanish than needed, an
infinitesimal perturbation of the target (carried as a second, subordinate target) decides, so that the walk cannot
circle and every tie is broken in the same way each time. The signs of the residuals at the end are a solution of the
dual problem; their bound proves how far from the optimum the fit can be at most.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trader.errors import DataError

Array = NDArray[np.float64]

_DEPENDENT = 1e-10  # a column this close to the span of those before it carries no information of its own
_PROOF = 1e-12  # of the target's scale, in mean absolute residual
_NEAR = 64  # breakpoints sorted at first; the minimum along an edge is nearly always among the nearest


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
    features, target = _checked(features, target)
    rows, lags = features.shape
    # Scaling by powers of two is exact and lets one tolerance serve all columns.
    scale = _power_of_two(features)
    height = _power_of_two(target[:, None])[0]
    design = np.column_stack([np.ones(rows), features / scale])
    kept = _independent(design)
    solution, bound = _descend(design[:, kept], target / height)
    parameters = np.zeros(lags + 1)
    parameters[kept] = solution * height
    parameters[1:] /= scale
    loss = float(np.mean(np.abs(target - parameters[0] - features @ parameters[1:])))
    gap = loss - bound * float(height)
    if not gap <= _PROOF * height:
        raise DataError(
            f"The L1 fit of {lags} lags could not be proven optimal (it may be {gap:.1e} above the least loss) because "
            "the lags nearly depend on each other; use fewer lags or more rows."
        )
    return Fit(tuple(parameters[1:].tolist()), float(parameters[0]), loss, max(gap, 0.0))


def fit_mse(features: Array, target: Array) -> Fit:
    """Fit the least mean squared residual (ordinary least squares).

    `features` is (rows, lags), `target` (rows,). Where features depend on each other, the smallest weights are taken.

    Raises:
        DataError: too few rows, or numbers that are not finite.
    """
    features, target = _checked(features, target)
    # Taking the means out first is the intercept, and keeps the digits of features that hardly vary.
    center, level = features.mean(axis=0), float(target.mean())
    weights = np.linalg.lstsq(features - center, target - level, rcond=None)[0]
    bias = level - float(center @ weights)
    loss = float(np.mean((target - bias - features @ weights) ** 2))
    return Fit(tuple(weights.tolist()), bias, loss, 0.0)


FITS: dict[str, Callable[[Array, Array], Fit]] = {"l1": fit_l1, "mse": fit_mse}


def _checked(features: Array, target: Array) -> tuple[Array, Array]:
    rows, lags = features.shape
    if rows != len(target) or rows <= lags:
        raise DataError(f"{rows} rows are too few to fit {lags} lags and a bias; give a longer history or fewer lags.")
    if not (np.isfinite(features).all() and np.isfinite(target).all()):
        raise DataError("A return to be fitted is NaN or infinite; look at the candles it comes from.")
    # One layout in memory, because a product may add in another order in another layout.
    return np.ascontiguousarray(features, dtype=np.float64), np.ascontiguousarray(target, dtype=np.float64)


def _power_of_two(columns: Array) -> Array:
    largest = np.abs(columns).max(axis=0)
    return np.asarray(np.exp2(np.floor(np.log2(np.where(largest > 0, largest, 1.0)))))


def _independent(design: Array) -> list[int]:
    width = design.shape[1]
    lengths = np.linalg.norm(design, axis=0)
    if (np.abs(np.diagonal(np.linalg.qr(design, mode="r"))) > _DEPENDENT * lengths).all():
        return list(range(width))
    kept: list[int] = []
    for column in range(width):
        span = np.linalg.qr(design[:, kept])[0]
        rest = design[:, column] - span @ (span.T @ design[:, column])
        if float(np.linalg.norm(rest)) > _DEPENDENT * lengths[column]:
            kept.append(column)
    return kept


def _first_vertex(design: Array, residuals: Array) -> NDArray[np.intp]:
    """Choose independent rows that least squares already fits well."""
    order = np.argsort(np.abs(residuals), kind="stable")
    rest = design[order]
    chosen = []
    for _ in range(design.shape[1]):
        lengths = np.einsum("ij,ij->i", rest, rest)
        row = int(np.argmax(lengths >= 0.01 * lengths.max()))
        chosen.append(order[row])
        direction = rest[row] / np.sqrt(lengths[row])
        rest = rest - np.outer(rest @ direction, direction)
    return np.array(chosen)


def _perturbation(rows: int) -> Array:
    """Return numbers in (0, 1) without any order, the same on every machine (an integer hash of the row)."""
    mixed = np.arange(1, rows + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray((mixed >> np.uint64(11)) / 2.0**53)


def _descend(design: Array, target: Array) -> tuple[Array, float]:
    """Walk from vertex to vertex to the least sum of absolute residuals.

    Returns:
        The parameters, and a lower bound of the mean absolute residual of any parameters.
    """
    rows, width = design.shape
    basis = _first_vertex(design, target - design @ np.linalg.lstsq(design, target, rcond=None)[0])
    signs = np.zeros(rows)
    slopes = np.zeros(width)
    for _ in range(1000 + 10 * rows):
        edges = np.linalg.inv(design[basis])
        parameters = edges @ target[basis]
        residuals = target - design @ parameters
        residuals[np.abs(residuals) <= 1e-14 * (1 + float(np.abs(parameters).sum()))] = 0.0
        signs = np.sign(residuals)
        perturbed = None
        if np.count_nonzero(signs) < rows - width:
            perturbation = _perturbation(rows)
            perturbed = perturbation - design @ (edges @ perturbation[basis])
            signs = np.where(residuals == 0, np.sign(perturbed), signs)
        signs[basis] = 0.0
        slopes = (signs @ design) @ edges
        leaving = int(np.argmax(np.abs(slopes)))
        excess = abs(float(slopes[leaving])) - 1
        if excess <= 1e-11:
            break
        change = np.copysign(1.0, slopes[leaving]) * (design @ edges[:, leaving])
        basis[leaving] = _lowest(residuals, perturbed, change, signs, excess)
    solution = np.linalg.solve(design[basis], target[basis])
    signs[basis] = -slopes
    bound = float(signs @ target) / max(1.0, float(np.abs(signs).max())) / rows
    return np.asarray(solution, dtype=np.float64), bound


def _lowest(residuals: Array, perturbed: Array | None, change: Array, signs: Array, excess: float) -> int:
    """Return the row whose residual vanishes where the sum along an edge is least.

    Going t along the edge, residuals become residual - t * change. At t = 0 the sum falls by `excess` per unit of t;
    each residual that passes zero makes that less by twice |change|.
    """
    weights = signs * change
    ahead = (weights > 1e-11 * np.abs(change).max()).nonzero()[0]
    steps = residuals[ahead] / change[ahead]
    near = _NEAR
    while True:
        some = near < len(ahead)
        within = (steps <= np.partition(steps, near)[near]).nonzero()[0] if some else np.arange(len(ahead))
        candidates = ahead[within]
        if perturbed is None:
            order = np.argsort(steps[within], kind="stable")
        else:
            order = np.lexsort((perturbed[candidates] / change[candidates], steps[within]))
        passed = np.cumsum(2 * weights[candidates[order]])
        if passed[-1] >= excess or not some:
            return int(candidates[order[min(int(np.searchsorted(passed, excess)), len(order) - 1)]])
        near *= 8
