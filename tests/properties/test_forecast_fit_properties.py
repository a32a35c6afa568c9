"""The exact fits against a linear programme, against every vertex in rational arithmetic, and against themselves."""

from fractions import Fraction
from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import csc_matrix

from trader.forecast.fit import fit_l1, fit_l1_each, fit_mse, subsets

Array = NDArray[np.float64]


def losses_of(features: Array, target: Array, weights: tuple[float, ...], bias: float) -> Array:
    return np.abs(target - bias - features @ np.array(weights))


def programme(features: Array, target: Array) -> tuple[float, float]:
    """The mean loss at the linear programme's solution, and its own objective."""
    rows, lags = features.shape
    equalities = csc_matrix(np.hstack([np.ones((rows, 1)), features, np.eye(rows), -np.eye(rows)]))
    costs = np.r_[np.zeros(lags + 1), np.ones(2 * rows)]
    bounds = [(None, None)] * (lags + 1) + [(0, None)] * (2 * rows)
    solved = linprog(costs, A_eq=equalities, b_eq=target, bounds=bounds, method="highs-ds")
    assert solved.status == 0
    at_solution = losses_of(features, target, tuple(solved.x[1 : lags + 1]), float(solved.x[0])).mean()
    return float(at_solution), solved.fun / rows


@st.composite
def problems(draw: st.DrawFn) -> tuple[Array, Array]:
    """Draw smooth, tied, duplicated, collinear and badly scaled designs."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    lags = draw(st.integers(1, 5))
    rows = draw(st.integers(lags + 1, 200))
    steps = draw(st.sampled_from([0, 1, 3, 30]))
    features = random.standard_t(3, (rows, lags))
    target = random.standard_t(3, rows)
    if steps:
        features, target = np.rint(features * steps) / steps, np.rint(target * steps) / steps
    if draw(st.booleans()):
        copies = random.integers(0, rows, rows)
        features, target = features[copies], target[copies]
    if draw(st.booleans()):
        features[:, draw(st.integers(0, lags - 1))] = draw(st.sampled_from([0.0, 1.0, -0.25]))
    if lags > 1 and draw(st.booleans()):
        features[:, -1] = features[:, 0] * 2 - 1
    if draw(st.booleans()):
        target = features @ random.integers(-3, 4, lags)
    return features * draw(st.sampled_from([1.0, 0.03, 1e-4])), target * draw(st.sampled_from([1.0, 0.03]))


@given(problems())
def test_no_linear_programme_finds_a_smaller_absolute_loss(problem: tuple[Array, Array]) -> None:
    features, target = problem
    fit = fit_l1(features, target)
    assert fit.loss == losses_of(features, target, fit.weights, fit.bias).mean()
    assert 0 <= fit.gap <= 1e-12
    at_solution, objective = programme(features, target)
    assert fit.loss <= at_solution + 1e-12
    # The programme itself stops within its tolerances; ours may therefore be the better one, but not by much.
    assert abs(fit.loss - objective) <= 1e-8


@given(problems(), st.integers(0, 2**32 - 1), st.floats(1e-9, 1.0))
def test_no_step_in_any_direction_lowers_the_absolute_loss(
    problem: tuple[Array, Array], seed: int, length: float
) -> None:
    features, target = problem
    fit = fit_l1(features, target)
    for step in np.random.default_rng(seed).standard_normal((20, features.shape[1] + 1)) * length:
        moved = tuple(np.array(fit.weights) + step[1:])
        assert losses_of(features, target, moved, fit.bias + step[0]).mean() >= fit.loss - 1e-15


@given(problems(), st.integers(1, 5))
def test_a_fit_among_many_is_the_fit_alone(problem: tuple[Array, Array], at_once: int) -> None:
    features, target = problem
    rows, lags = features.shape
    used = subsets(lags, lags)
    others = np.random.default_rng(at_once).standard_normal((at_once, rows, lags))
    many = fit_l1_each(
        np.concatenate([others, np.broadcast_to(features, (len(used), rows, lags))]),
        np.broadcast_to(target, (at_once + len(used), rows)),
        np.concatenate([np.ones((at_once, lags), dtype=bool), used]),
    )
    for fit, lags_used in zip(many[at_once:], used, strict=True):
        alone = fit_l1(features[:, lags_used], target)
        assert len(fit.weights) == lags_used.sum()
        assert abs(fit.loss - alone.loss) <= 1e-15 + 1e-14 * alone.loss


@given(
    st.integers(1, 2).flatmap(
        lambda lags: st.lists(
            st.tuples(*[st.integers(-3, 3)] * (lags + 1)), min_size=lags + 1, max_size=9 if lags == 1 else 7
        )
    )
)
def test_the_loss_is_the_least_of_all_vertices_in_exact_arithmetic(points: list[tuple[int, ...]]) -> None:
    data = np.array(points, dtype=np.float64)
    fit = fit_l1(data[:, :-1], data[:, -1])
    assert abs(fit.loss - float(least_of_all_vertices(points))) <= 1e-14


def least_of_all_vertices(points: list[tuple[int, ...]]) -> Fraction:
    width = len(points[0])
    rows = [[Fraction(1), *(Fraction(value) for value in point[:-1])] for point in points]
    losses = []
    # Vertices on fewer columns stand for designs whose columns depend on each other.
    for size in range(1, width + 1):
        for columns in combinations(range(width), size):
            for chosen in combinations(range(len(points)), size):
                matrix = [[rows[row][column] for column in columns] + [Fraction(points[row][-1])] for row in chosen]
                solution = solve(matrix)
                if solution is not None:
                    losses.append(
                        sum(
                            abs(point[-1] - sum(row[c] * x for c, x in zip(columns, solution, strict=True)))
                            for row, point in zip(rows, points, strict=True)
                        )
                    )
    return min(losses) / len(points)


def solve(matrix: list[list[Fraction]]) -> list[Fraction] | None:
    size = len(matrix)
    for column in range(size):
        pivot = next((row for row in range(column, size) if matrix[row][column]), None)
        if pivot is None:
            return None
        matrix[column], matrix[pivot] = matrix[pivot], matrix[column]
        matrix[column] = [value / matrix[column][column] for value in matrix[column]]
        for row in range(size):
            if row != column:
                factor = matrix[row][column]
                matrix[row] = [a - factor * b for a, b in zip(matrix[row], matrix[column], strict=True)]
    return [row[-1] for row in matrix]


@given(problems())
def test_a_fit_is_the_same_each_time(problem: tuple[Array, Array]) -> None:
    features, target = problem
    assert fit_l1(features, target) == fit_l1(features.copy(order="F"), target.copy())
    assert fit_mse(features, target) == fit_mse(features.copy(order="F"), target.copy())


@given(problems())
def test_no_step_in_any_direction_lowers_the_squared_loss(problem: tuple[Array, Array]) -> None:
    features, target = problem
    fit = fit_mse(features, target)
    residuals = target - fit.bias - features @ np.array(fit.weights)
    design = np.column_stack([np.ones(len(target)), features])
    tolerance = 1e-9 * (np.abs(design).max(axis=0) * np.abs(target).max() + 1e-12)
    assert (np.abs(design.T @ residuals) / len(target) <= tolerance).all()
    assert abs(fit.loss - float((residuals**2).mean())) <= 1e-15
