"""What a Sharpe ratio is worth: by hand, and against skfolio."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from skfolio import measures

from trader.research.evidence.sharpe import (
    deflated_sharpe,
    expected_maximum,
    least_track_record,
    probabilistic_sharpe,
    sharpe,
)


def draws(count: int, seed: int, mean: float = 0.002) -> np.ndarray:
    return np.random.default_rng(seed).standard_t(4, count) * 0.02 + mean


def test_a_sharpe_ratio_is_the_mean_over_the_sample_deviation() -> None:
    assert sharpe([1.0, 3.0]) == 2 / math.sqrt(2)
    assert sharpe([0.01, 0.01, 0.01]) is None
    assert sharpe([0.1 + 0.2, 0.3, 0.3]) is None
    assert sharpe([1.0]) is None
    assert sharpe([]) is None


def test_the_probability_by_hand() -> None:
    # returns -1, 0, 1, 2: mean 1/2, sample variance 5/3, no skew, fourth moment (81 + 1 + 1 + 81)/64 over (5/4) squared
    ratio = 0.5 / math.sqrt(5 / 3)
    kurtosis = (164 / 64) / (5 / 4) ** 2
    spread = 1 + (kurtosis - 1) / 4 * ratio**2
    expected = NormalDist().cdf(ratio * math.sqrt(3) / math.sqrt(spread))
    assert probabilistic_sharpe([-1.0, 0.0, 1.0, 2.0]) == pytest.approx(expected, rel=1e-14)
    assert probabilistic_sharpe([-1.0, 0.0, 1.0, 2.0], ratio) == 0.5


def test_a_left_tail_makes_the_same_ratio_less_certain() -> None:
    right = np.array([0.0] * 27 + [1.0, 1.0, 2.0])
    left = 2 * right.mean() - right
    assert sharpe(left) == pytest.approx(sharpe(right))
    assert (probabilistic_sharpe(left) or 0) < (probabilistic_sharpe(right) or 0)


def test_the_best_of_two_and_of_a_thousand_by_hand() -> None:
    # of two, the first quantile is the median (0), so only Euler's constant times the second remains
    second = NormalDist().inv_cdf(1 - 1 / (2 * math.e))
    assert expected_maximum(2, 0.1) == pytest.approx(0.1 * 0.5772156649015329 * second, rel=1e-12)
    assert expected_maximum(1, 0.1) == expected_maximum(0, 0.1) == 0.0
    luck = np.random.default_rng(5).standard_normal((4000, 1000)).max(axis=1).mean()
    assert expected_maximum(1000, 1.0) == pytest.approx(luck, rel=0.01)


@pytest.mark.parametrize("seed", range(6))
def test_the_ratios_equal_those_of_skfolio(seed: int) -> None:
    returns = draws(411, seed)
    trials = np.random.default_rng(seed + 100).normal(0, 0.03, 14)
    deviation = float(trials.std(ddof=1))
    assert probabilistic_sharpe(returns) == pytest.approx(measures.probabilistic_sharpe_ratio(returns), rel=1e-12)
    assert probabilistic_sharpe(returns, 0.05) == pytest.approx(
        measures.probabilistic_sharpe_ratio(returns, 0.05), rel=1e-12
    )
    assert expected_maximum(14, deviation) == pytest.approx(measures.expected_max_sharpe_ratio(14, deviation), rel=1e-9)
    assert deflated_sharpe(returns, 14, deviation) == pytest.approx(
        measures.deflated_sharpe_ratio(returns, trials), rel=1e-9
    )


def test_the_least_track_record_is_the_length_at_which_the_probability_is_reached() -> None:
    returns = draws(200, 3)
    needed = least_track_record(returns)
    assert needed is not None
    ratio, certain = sharpe(returns), probabilistic_sharpe(returns)
    assert ratio is not None
    assert certain is not None
    # the probability grows with the root of the length, all else being equal
    there = NormalDist().cdf(NormalDist().inv_cdf(certain) * math.sqrt((needed - 1) / (len(returns) - 1)))
    assert there == pytest.approx(0.95, rel=1e-12)
    assert least_track_record(-np.abs(returns)) is None
    assert least_track_record(returns, benchmark=1.0) is None


def test_what_cannot_be_said_is_not_said() -> None:
    for silent in ([], [0.01], [0.01, 0.02], [0.01] * 50):
        assert probabilistic_sharpe(silent) is None
        assert deflated_sharpe(silent, 14, 0.03) is None
        assert least_track_record(silent) is None
