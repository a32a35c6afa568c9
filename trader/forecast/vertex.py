"""Least absolute deviations, exactly and many at a time: a walk from vertex to vertex, all fits in step.

The least sum of absolute residuals is reached where as many residuals are zero as there are parameters (a vertex). From
one vertex an edge leads to the next: one zero residual is let go, and along the edge the sum is convex and piecewise
linear, so that its minimum is a weighted median. Where more residuals vanish than needed, an infinitesimal perturbation
of the target (carried as a second, subordinate target) decides, so that the walk cannot circle and every tie is broken
in the same way each time. The signs of the residuals at the end are a solution of the dual problem; their bound proves
how far from the optimum the fit can be at most.

A design here is (fits, parameters, rows), its first parameter the bias, no number above 2. A column that a fit does not
use holds zeros, and the basis keeps a unit row for it, which nothing can make leave. Nothing about one fit depends on
those beside it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rows = NDArray[np.intp]
Mask = NDArray[np.bool_]

_DEPENDENT = 1e-10  # a column this close to the span of those before it carries no information of its own
_COMFORTABLE = 1e-6  # of the least eigenvalue of the columns' correlations: far from any doubt about dependence
_ZERO = 1e-14  # of the size of the parameters: a residual that only rounding keeps from zero
_EDGE = 1e-11  # slopes and changes closer to nothing than this are nothing
_POOR = 1e-6  # squared lengths of rows (of size 1) that span nothing
_FLOORS = (0.5, 0.2)  # of the mean absolute residual: rows nearer than this weigh no more, in each reweighting
_RIDGE = 1e-12
_BAND = 5  # times the root of the number of rows: so many residuals may change sign between the start and the end
_NEAR = 48  # breakpoints sorted at first; the minimum along an edge is nearly always among the nearest


@dataclass(frozen=True, slots=True)
class Optimum:
    """The vertices found: `parameters` (fits, parameters), and a `bound` below any mean absolute residual (fits,)."""

    parameters: Array
    bound: Array


def descend(design: Array, target: Array, used: Mask) -> Optimum:
    """Walk each fit to its least sum of absolute residuals.

    `design` is (fits, parameters, rows), `target` (fits, rows), `used` (fits, parameters). The columns that a fit does
    not use, or that depend on those before them, get the parameter 0. A fit that reaches no end has the bound -inf.
    """
    fits = len(design)
    design = np.where(used[:, :, None], design, 0.0)
    kept = _informative(design, used)
    design[~kept] = 0.0
    walk = _Walk(design, target, kept, _vertices_at_hand(design, target, kept))
    walk.run(np.arange(fits))
    system, values = walk.system(np.arange(fits))
    return Optimum(np.where(kept, np.linalg.solve(system, values[:, :, None])[:, :, 0], 0.0), walk.bound)


class _Walk:
    """The state of all fits: which rows are the basis of each vertex, and what the finished ones have proven.

    A `pull` (fits, parameters) stands for rows left out whose residuals are taken to keep their signs: the sum of sign
    times row. Such a walk stops where it meets anything out of the ordinary; the walk over all rows goes on from there.
    """

    def __init__(self, design: Array, target: Array, kept: Mask, basis: Rows, pull: Array | None = None) -> None:
        self.basis = basis
        self.bound = np.full(len(design), -np.inf)
        self._design, self._target, self._kept, self._pull = design, target, kept, pull
        self._units = np.eye(design.shape[1])

    def run(self, fits: Rows) -> None:
        """Walk these fits to their ends."""
        for _ in range(1000 + 10 * self._design.shape[2]):
            if not len(fits):
                break
            fits = self._step(fits)

    def system(self, fits: Rows) -> tuple[Array, Array]:
        """Return the equations of some vertices: (fits, parameters, parameters) and (fits, parameters)."""
        basis, kept = self.basis[fits], self._kept[fits]
        rows = self._design[fits[:, None], :, basis]
        values = np.where(kept, self._target[fits[:, None], basis], 0.0)
        return np.where(kept[:, :, None], rows, self._units), values

    def _step(self, fits: Rows) -> Rows:
        """Move each of these fits to its next vertex; return those that had one to go to."""
        design, target = _of(self._design, fits), _of(self._target, fits)
        basis, kept = self.basis[fits], self._kept[fits]
        system, values = self.system(fits)
        edges = np.asarray(np.linalg.inv(system), dtype=np.float64)
        parameters = (edges @ values[:, :, None])[:, :, 0]
        residuals = target - (parameters[:, None, :] @ design)[:, 0]
        zero = np.abs(residuals) <= (_ZERO * (1 + np.abs(parameters).sum(axis=1)))[:, None]
        residuals[zero] = 0.0
        signs = np.sign(residuals)
        tied = np.count_nonzero(zero, axis=1) > np.count_nonzero(kept, axis=1)
        beside = self._perturbed(tied, edges, design, basis, kept) if self._pull is None else {}
        for fit, perturbed in beside.items():
            signs[fit] = np.where(zero[fit], np.sign(perturbed), signs[fit])
        _put(signs, basis, kept, np.zeros_like(parameters))
        sums = (design @ signs[:, :, None])[:, :, 0]
        slopes = ((sums if self._pull is None else sums + self._pull[fits])[:, None, :] @ edges)[:, 0]
        leaving = np.abs(slopes).argmax(axis=1)
        steepest = slopes[np.arange(len(fits)), leaving]
        ended = np.abs(steepest) <= 1 + _EDGE
        if self._pull is None:
            self._prove(fits[ended], signs[ended], slopes[ended])
        else:
            ended |= tied
        going: Rows = (~ended).nonzero()[0]
        if not len(going):
            return going
        ways = np.copysign(1.0, steepest[going])[:, None] * edges[going, :, leaving[going]]
        change = (ways[:, None, :] @ _of(design, going))[:, 0]
        excess = np.abs(steepest[going]) - 1
        found = _lowest(_of(residuals, going), change, _of(signs, going), excess, ways)
        for place, fit in enumerate(going.tolist()):
            if found[place] < 0 or fit in beside:
                found[place] = _lowest_of_all(
                    residuals[fit], beside.get(fit), change[place], signs[fit], float(excess[place])
                )
        there = found >= 0
        moved: Rows = fits[going[there]]
        self.basis[moved, leaving[going[there]]] = found[there]
        return moved

    def _perturbed(self, tied: Mask, edges: Array, design: Array, basis: Rows, kept: Mask) -> dict[int, Array]:
        """Return the residuals of the perturbation for the fits in which more residuals vanish than needed."""
        found = {}
        for fit in tied.nonzero()[0].tolist():
            perturbation = _perturbation(design.shape[2])
            values = np.where(kept[fit], perturbation[basis[fit]], 0.0)
            found[fit] = perturbation - (edges[fit] @ values) @ design[fit]
        return found

    def _prove(self, fits: Rows, signs: Array, slopes: Array) -> None:
        _put(signs, self.basis[fits], self._kept[fits], -slopes)
        for fit, dual in zip(fits, signs, strict=True):
            largest = max(1.0, float(np.abs(dual).max()))
            self.bound[fit] = float(dual @ self._target[fit]) / largest / len(dual)


def _of(rows: Array, fits: Rows) -> Array:
    return rows if len(fits) == len(rows) else rows[fits]


def _put(rows: Array, basis: Rows, kept: Mask, values: Array) -> None:
    fits, positions = kept.nonzero()
    rows[fits, basis[fits, positions]] = values[fits, positions]


def _informative(design: Array, used: Mask) -> Mask:
    """Choose the columns that carry information of their own."""
    gram = design @ design.transpose(0, 2, 1)
    lengths = np.sqrt(np.einsum("ijj->ij", gram))
    bare = lengths == 0
    lengths[bare] = 1.0
    correlations = gram / (lengths[:, :, None] * lengths[:, None, :]) + np.eye(len(gram[0])) * bare[:, None, :]
    kept: Mask = used & ~bare
    for fit in (np.linalg.eigvalsh(correlations)[:, 0] < _COMFORTABLE).nonzero()[0]:
        kept[fit] = _independent(design[fit].T, kept[fit])
    return kept


def _first_residuals(design: Array, target: Array) -> Array:
    """Return residuals near the least absolute ones: least squares, and again with the near rows weighted up.

    A trace of ridge keeps the equations regular; the walk corrects what that costs.
    """
    ridge = np.eye(design.shape[1]) * (_RIDGE * design.shape[2])
    weighted = design
    residuals = target
    for floor in (*_FLOORS, None):
        system = weighted @ design.transpose(0, 2, 1) + ridge
        parameters = np.linalg.solve(system, weighted @ target[:, :, None])[:, :, 0]
        residuals = target - (parameters[:, None, :] @ design)[:, 0]
        if floor is not None:
            distance = np.abs(residuals)
            mean = distance.mean(axis=1)[:, None]
            scale = np.where(mean > 0, mean, 1.0)
            weighted = design * (scale / np.maximum(distance, floor * scale))[:, None]
    return residuals


def _independent(columns: Array, used: Mask) -> Mask:
    kept = np.zeros_like(used)
    for column in used.nonzero()[0]:
        span = np.linalg.qr(columns[:, kept])[0]
        rest = columns[:, column] - span @ (span.T @ columns[:, column])
        length = float(np.linalg.norm(columns[:, column]))
        kept[column] = float(np.linalg.norm(rest)) > _DEPENDENT * length
    return kept


def _vertices_at_hand(design: Array, target: Array, kept: Mask) -> Rows:
    """Return vertices near the optimum: the best ones as far as rows with small residuals can tell."""
    fits, _, rows = design.shape
    residuals = _first_residuals(design, target)
    distance = np.abs(residuals)
    one = np.arange(fits)[:, None]
    count = min(rows, round(_BAND * rows**0.5))
    first = min(count, _NEAR)
    near = np.argpartition(distance, sorted({first - 1, count - 1}), axis=1)[:, :count]
    near[:, :first] = near[one, np.argsort(distance[one, near[:, :first]], axis=1, kind="stable")]
    rest = design[one, :, near]
    chosen, poor = _spread(rest[:, :first], kept)
    if count < rows:
        band, signs = np.ascontiguousarray(rest.transpose(0, 2, 1)), np.sign(residuals)
        pull = (design @ signs[:, :, None] - band @ signs[one, near][:, :, None])[:, :, 0]
        walk = _Walk(band, target[one, near], kept, chosen, pull)
        walk.run((~poor).nonzero()[0])
    basis = near[one, chosen]
    for fit in poor.nonzero()[0]:
        order = np.argsort(distance[fit], kind="stable")
        basis[fit] = order[_spread(design[fit].T[None, order], kept[fit][None])[0][0]]
    return basis


def _spread(rest: Array, kept: Mask) -> tuple[Rows, Mask]:
    """Take the first rows of (fits, rows, parameters) that span the parameters well; say which fits have no such."""
    one = np.arange(len(rest))
    chosen = np.zeros(kept.shape, dtype=np.intp)
    poor = np.zeros(len(rest), dtype=bool)
    for position in range(kept.shape[1]):
        lengths = np.einsum("ijk,ijk->ij", rest, rest)
        longest = lengths.max(axis=1)
        row = (lengths >= 0.01 * longest[:, None]).argmax(axis=1)
        here = kept[:, position]
        poor |= here & (longest < _POOR)
        chosen[:, position] = np.where(here, row, 0)
        direction = rest[one, row] / np.sqrt(np.where(longest > 0, lengths[one, row], 1.0))[:, None]
        direction[~here] = 0.0
        rest = rest - (rest @ direction[:, :, None]) * direction[:, None, :]
    return chosen, poor


def _perturbation(rows: int) -> Array:
    """Return numbers in (0, 1) without any order, the same on every machine (an integer hash of the row)."""
    mixed = np.arange(1, rows + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray((mixed >> np.uint64(11)) / 2.0**53)


def _lowest(residuals: Array, change: Array, signs: Array, excess: Array, ways: Array) -> Rows:
    """Return for each fit the row whose residual vanishes where the sum along an edge is least, -1 where it is far.

    Going t along the edge, residuals become residual - t * change. At t = 0 the sum falls by `excess` per unit of t;
    each residual that passes zero makes that less by twice |change|.
    """
    weights = signs * change
    ahead = weights > (_EDGE * np.abs(ways).sum(axis=1))[:, None]
    steps = np.divide(residuals, change, out=np.full_like(residuals, np.inf), where=ahead)
    one = np.arange(len(steps))
    near = np.arange(steps.shape[1])[None, :].repeat(len(steps), axis=0)
    if steps.shape[1] > _NEAR:
        near = np.argpartition(steps, _NEAR - 1, axis=1)[:, :_NEAR]
    near = near[one[:, None], np.argsort(steps[one[:, None], near], axis=1, kind="stable")]
    passed = np.where(ahead, weights, 0.0)[one[:, None], near].cumsum(axis=1) * 2
    enough = passed >= excess[:, None]
    return np.where(enough[:, -1], near[one, enough.argmax(axis=1)], -1)


def _lowest_of_all(residuals: Array, perturbed: Array | None, change: Array, signs: Array, excess: float) -> int:
    """Return the same row for one fit, looking at all of them, and breaking ties by the perturbation where given."""
    weights = signs * change
    ahead = (weights > _EDGE * np.abs(change).max()).nonzero()[0]
    steps = residuals[ahead] / change[ahead]
    if perturbed is None:
        order = np.argsort(steps, kind="stable")
    else:
        order = np.lexsort((perturbed[ahead] / change[ahead], steps))
    passed = np.cumsum(2 * weights[ahead[order]])
    # Of all rows, the last ends every descent; that its sum falls a little short is rounding.
    last = int(np.searchsorted(passed, excess * (1 - 1e-9)))
    return int(ahead[order[last]]) if last < len(order) else -1
