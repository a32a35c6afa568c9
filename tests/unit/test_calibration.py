import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from trader.research.calibration import odds_slope, reliability, right_signs


def world(slope: float, rows: int = 20_000, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    sizes = np.abs(random.standard_normal(rows))
    return sizes, (random.random(rows) < 1 / (1 + np.exp(-slope * sizes))).astype(float)


@pytest.mark.parametrize("slope", [0.2, 1.0, 3.0])
def test_the_slope_a_world_was_made_with_is_found_again(slope: float) -> None:
    sizes, right = world(slope)
    assert odds_slope(sizes, right) == pytest.approx(slope, rel=0.1, abs=0.05)


def test_the_slope_is_the_most_likely_one() -> None:
    sizes, right = world(0.7, rows=500)

    def loss(slope: float) -> float:
        return float(np.sum(np.log1p(np.exp(-slope * sizes)) + (1 - right) * slope * sizes) + 5e-4 * slope**2)

    best = minimize_scalar(loss, bounds=(0, 10), method="bounded", options={"xatol": 1e-10}).x
    assert odds_slope(sizes, right) == pytest.approx(best, abs=1e-6)


def test_signs_that_are_rather_wrong_leave_a_coin_toss_and_sure_ones_stay_finite() -> None:
    sizes, right = world(1.0)
    assert odds_slope(sizes, 1 - right) == 0.0
    assert odds_slope(np.zeros(10), np.ones(10)) == 0.0
    sure = odds_slope(np.array([0.1, 0.2, 3.0]), np.ones(3))
    assert np.isfinite(sure)
    assert sure > 10


def test_a_sign_of_nothing_is_half_right() -> None:
    assert right_signs(np.array([1.0, -2.0, 3.0, 0.0]), np.array([0.1, 0.1, 0.0, -1.0])).tolist() == [
        1.0,
        0.0,
        0.5,
        0.5,
    ]


def test_bins_of_equal_count_compare_what_was_said_with_what_came() -> None:
    confidence = np.array([0.5, 0.9, 0.6, 0.8, 0.7, 0.55])
    right = np.array([0.0, 1.0, 1.0, 1.0, 0.0, 0.5])
    found = reliability(confidence, right)
    assert [one.count for one in found.bins] == [2, 1, 1, 1, 1]
    assert (found.bins[0].predicted, found.bins[0].observed) == (0.525, 0.25)
    assert (found.bins[-1].predicted, found.bins[-1].observed) == (0.9, 1.0)
    assert found.brier == pytest.approx(np.mean((confidence - right) ** 2), rel=1e-9)
    assert (found.rows, sum(one.count for one in found.bins)) == (6, 6)


def test_a_world_as_it_was_said_to_be_is_reliable() -> None:
    sizes, right = world(2.0)
    for one in reliability(1 / (1 + np.exp(-2.0 * sizes)), right).bins:
        assert one.observed == pytest.approx(one.predicted, abs=0.02)


def test_nothing_to_judge_by_is_said_so() -> None:
    found = reliability(np.array([]), np.array([]))
    assert (found.rows, found.brier, found.bins) == (0, None, ())
