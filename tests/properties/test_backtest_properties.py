"""Backtests of any market: the same as the third ledger, and never changed by what comes later."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from tests.parity.markets_at_hand import START, backtest, random_walk, require_parity
from tests.unit.execution_world import SYMBOL, limits
from tests.unit.strategies_at_hand import Follower, momentum
from trader.domain.decision import Limits, State
from trader.domain.interval import Interval

BARS = 120

followers = st.builds(
    lambda exposure, more, band, hours, capital, rebalance: Follower(
        (SYMBOL,),
        exposure,
        int(exposure) + more,
        band,
        Interval(60 * hours),
        momentum,
        capital=capital,
        rebalance=rebalance,
    ),
    exposure=st.floats(0.001, 9),
    more=st.integers(1, 3),
    band=st.sampled_from([0.0, 0.05, 0.5]),
    hours=st.integers(1, 9),
    capital=st.sampled_from([None, None, Decimal(3000), Decimal(12_000)]),
    rebalance=st.sampled_from(["drift", "every_close"]),
)
guarded = st.sampled_from(["1", "0.3", "0.05"]).map(lambda most: limits(max_drawdown=most))
seeds, shakes = st.integers(0, 2**31), st.sampled_from([0.005, 0.03, 0.1])


@given(followers, guarded, seeds, shakes)
def test_any_strategy_on_any_market_has_the_money_of_the_third_ledger(
    strategy: Follower, under: Limits, seed: int, volatility: float
) -> None:
    with TemporaryDirectory() as folder:
        market = random_walk(Path(folder), seed, BARS, volatility=volatility)
        result = backtest(market, strategy, under=under, start=START + timedelta(hours=20))
        require_parity(market, strategy, result)


@given(followers, guarded, seeds, shakes, st.integers(1, 11))
def test_a_close_never_changes_when_the_future_arrives(
    strategy: Follower, under: Limits, seed: int, volatility: float, cycles: int
) -> None:
    with TemporaryDirectory() as folder:
        market = random_walk(Path(folder), seed, BARS, volatility=volatility)
        start = START + timedelta(hours=20)
        whole = backtest(market, strategy, under=under, start=start)
        part = backtest(market, strategy, under=under, start=start, cycles=cycles)
        assert part.closes == whole.closes[:cycles]
        assert part.fills == whole.fills[: len(part.fills)]


@given(followers, seeds, shakes)
def test_once_halted_nothing_is_traded_and_nothing_held(strategy: Follower, seed: int, volatility: float) -> None:
    with TemporaryDirectory() as folder:
        market = random_walk(Path(folder), seed, BARS, volatility=volatility)
        result = backtest(market, strategy, under=limits(max_drawdown="0.1"), start=START + timedelta(hours=20))
    halted = [report for report in result.closes if report.state is State.HALTED]
    if halted:
        assert result.closes[-len(halted) :] == halted
        assert {report.positions[SYMBOL] for report in halted} == {Decimal(0)}
        assert len({report.equity for report in halted}) == 1
        assert all(close <= halted[0].close for close, _ in result.fills)
