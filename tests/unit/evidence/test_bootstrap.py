"""Resamples and their tests: by hand, and draw for draw against arch."""

import numpy as np
import pytest
from arch.bootstrap import SPA, StationaryBootstrap, optimal_block_length

from trader.research.evidence.bootstrap import block_length, percentile_interval, resample, resampled_means
from trader.research.evidence.superiority import superiority


def lasting(count: int, seed: int, memory: float) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(count) * 0.02
    values = np.zeros(count)
    for row in range(count):
        values[row] = memory * values[row - 1] + noise[row]
    return values + 0.001


@pytest.mark.parametrize("memory", [-0.5, 0.0, 0.3, 0.8, 0.97])
@pytest.mark.parametrize("count", [40, 411, 2000])
def test_the_block_length_equals_that_of_arch(count: int, memory: float) -> None:
    values = lasting(count, count, memory)
    theirs = float(optimal_block_length(values)["stationary"].iloc[0])
    assert block_length(values) == pytest.approx(max(theirs, 1.0), rel=1e-10)


def test_few_or_equal_returns_are_drawn_one_by_one() -> None:
    assert block_length([]) == block_length([0.01] * 100) == block_length(lasting(29, 1, 0.9)) == 1.0


def test_blocks_follow_the_series_and_wrap_at_its_end() -> None:
    class Scripted:
        """A generator that draws what the test says."""

        def integers(self, count: int, size: int) -> np.ndarray:
            return np.array([3, 0, 4, 0, 1])

        def random(self, size: int) -> np.ndarray:
            return np.array([0.9, 0.9, 0.1, 0.9, 0.2])

    # blocks begin at the first, third and fifth place: 3 4 | 4 0 | 1
    assert resample(5, 4.0, Scripted()).tolist() == [3, 4, 4, 0, 1]  # type: ignore[arg-type]


def test_the_same_seed_draws_what_arch_draws() -> None:
    theirs = StationaryBootstrap(7, np.arange(200), seed=np.random.default_rng(11))
    generator = np.random.default_rng(11)
    for data, _ in theirs.bootstrap(20):
        assert resample(200, 7, generator).tolist() == data[0].tolist()


def test_means_are_those_of_the_drawn_rows_and_every_step_is_told() -> None:
    columns = np.column_stack([lasting(100, 1, 0.2), lasting(100, 2, 0.2)])
    steps: list[int] = []
    means = resampled_means(columns, 5, 30, 9, step=lambda: steps.append(1))
    generator = np.random.default_rng(9)
    expected = [columns[resample(100, 5, generator)].mean(axis=0) for _ in range(30)]
    assert means == pytest.approx(np.array(expected), rel=1e-12)
    assert len(steps) == 30
    assert (resampled_means(columns, 5, 30, 9) == means).all()
    assert percentile_interval(np.arange(101.0), 0.9) == pytest.approx((5.0, 95.0))


@pytest.mark.parametrize("seed", range(4))
def test_the_test_for_superior_ability_equals_that_of_arch(seed: int) -> None:
    rules = np.column_stack([lasting(300, 10 * seed + rule, 0.1) + 0.0015 * rule - 0.004 for rule in range(6)])
    benchmark = lasting(300, 99 + seed, 0.1)
    theirs = SPA(-benchmark, -rules, block_size=6, reps=500, seed=np.random.default_rng(seed))
    theirs.compute()
    gains = rules - benchmark[:, None]
    best = int(np.argmax(gains.mean(axis=0)))
    assert gains.mean(axis=0)[best] > 0
    ours = superiority(gains, resampled_means(gains, 6, 500, seed), 6, best)
    assert (ours.lower, ours.p_value, ours.upper) == tuple(theirs.pvalues)
    assert ours.lower <= ours.p_value <= ours.upper


def test_what_was_not_better_than_the_benchmark_is_never_superior() -> None:
    gains = np.column_stack([lasting(300, 1, 0.0) - 0.01, lasting(300, 2, 0.0) + 0.01])
    means = resampled_means(gains, 1, 200, 1)
    assert superiority(gains, means, 1, chosen=0).p_value == 1.0
    assert superiority(gains, means, 1, chosen=1).p_value == 0.0
    same = np.zeros((300, 1))
    assert superiority(same, resampled_means(same, 1, 200, 1), 1).p_value == 1.0


def test_a_rule_is_harder_to_believe_when_it_was_chosen_among_many() -> None:
    gains = np.column_stack([lasting(400, rule, 0.0) for rule in range(20)])
    best = int(np.argmax(gains.mean(axis=0)))
    alone = gains[:, [best]]
    assert (
        superiority(alone, resampled_means(alone, 1, 500, 1), 1).p_value
        < superiority(gains, resampled_means(gains, 1, 500, 1), 1, best).p_value
    )
