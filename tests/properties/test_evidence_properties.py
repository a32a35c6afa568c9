"""The statistics behind a verdict keep their order whatever the returns."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trader.research.evidence.bootstrap import block_length, percentile_interval, resampled_means
from trader.research.evidence.sharpe import deflated_sharpe, expected_maximum, probabilistic_sharpe, sharpe
from trader.research.evidence.superiority import superiority

RETURNS = st.lists(st.floats(-0.2, 0.2, allow_subnormal=False), min_size=3, max_size=60)
DEVIATIONS = st.floats(1e-4, 1.0)


@given(RETURNS, st.integers(2, 10**6), st.integers(1, 10**6), DEVIATIONS)
def test_more_trials_never_make_a_sharpe_ratio_more_certain(
    returns: list[float], trials: int, more: int, deviation: float
) -> None:
    certain = probabilistic_sharpe(returns)
    deflated = deflated_sharpe(returns, trials, deviation)
    further = deflated_sharpe(returns, trials + more, deviation)
    if certain is None:
        assert (deflated, further) == (None, None)
    else:
        assert deflated is not None
        assert further is not None
        assert 0 <= further <= deflated <= certain <= 1
    assert expected_maximum(trials, deviation) < expected_maximum(trials + more, deviation)


@given(RETURNS)
def test_gains_are_certain_above_a_half_and_losses_below(returns: list[float]) -> None:
    ratio, certain = sharpe(returns), probabilistic_sharpe(returns)
    assert certain is None or ratio is None or np.sign(certain - 0.5) in (0, np.sign(ratio))


@given(
    st.integers(0, 10**6),
    st.integers(30, 200),
    st.integers(1, 5),
    st.floats(-0.01, 0.01),
    st.floats(1, 20),
)
def test_a_p_value_is_a_probability_and_the_three_are_in_order(
    seed: int, rows: int, rules: int, drift: float, block: float
) -> None:
    gains = np.random.default_rng(seed).standard_t(3, (rows, rules)) * 0.02 + drift
    found = superiority(gains, resampled_means(gains, block, 60, seed), block, seed % rules)
    assert 0 <= found.lower <= found.p_value <= found.upper <= 1


@given(st.integers(0, 10**6), st.integers(30, 300), st.floats(-0.01, 0.01))
def test_the_interval_holds_the_mean_it_was_drawn_around(seed: int, rows: int, drift: float) -> None:
    returns = np.random.default_rng(seed).standard_t(4, rows) * 0.02 + drift
    block = block_length(returns)
    assert 1 <= block <= np.ceil(min(3 * np.sqrt(rows), rows / 3))
    low, high = percentile_interval(resampled_means(returns[:, None], block, 200, seed)[:, 0])
    assert low <= returns.mean() <= high
