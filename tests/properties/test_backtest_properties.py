"""Backtests of any market: the same as the third ledger, and never changed by what comes later."""

from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from tests.parity.markets_at_hand import START, backtest, random_walk, require_parity
from tests.unit.execution_world import SYMBOL, limits
from tests.unit.strategies_at_hand import Follower, momentum
from trader.domain.decision import Limits, State
from trader.domain.interval import Interval
from trader.domain.order import Fill
from trader.execution.round_trips import RoundTrip, round_trips
from trader.research.backtest import Backtest

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


def fills_of(result: Backtest) -> list[Fill]:
    """Everything that moved the position, liquidations too, in order."""
    moves = sorted([*result.fills, *result.forced], key=lambda move: move[0])
    return [Fill("", "", e.symbol, e.quantity, e.price, e.fee, e.realised, at) for at, e in moves]


@given(followers, guarded, seeds, shakes)
def test_start_and_profit_less_fees_and_funding_make_the_end(
    strategy: Follower, under: Limits, seed: int, volatility: float
) -> None:
    with TemporaryDirectory() as folder:
        market = random_walk(Path(folder), seed, BARS, volatility=volatility)
        result = backtest(market, strategy, under=under, start=START + timedelta(hours=20))
    last = result.closes[-1]
    fills = fills_of(result)
    assert sum((fill.fee for fill in fills), Decimal(0)) == result.fees
    assert sum((booking.amount for booking in result.bookings), Decimal(0)) == result.funding
    wallet = result.start_equity + sum((fill.realised for fill in fills), Decimal(0)) - result.fees + result.funding
    held = last.positions[SYMBOL]
    if held == 0:
        assert wallet == last.equity
    trips = round_trips(fills, result.bookings, marks=last.prices)
    net = sum((trip.net for trip in trips), Decimal(0))
    assert abs(result.start_equity + net - last.equity) <= (Decimal("1e-8") if held else 0)
    assert sum((trip.funding for trip in trips), Decimal(0)) == result.funding
    assert len([trip for trip in trips if trip.exit_time is None]) == (held != 0)


@given(followers, seeds, shakes)
def test_round_trips_follow_each_other_and_last_one_candle_where_each_is_opened_anew(
    strategy: Follower, seed: int, volatility: float
) -> None:
    with TemporaryDirectory() as folder:
        market = random_walk(Path(folder), seed, BARS, volatility=volatility)
        result = backtest(market, strategy, start=START + timedelta(hours=20))
    trips = round_trips(fills_of(result), result.bookings)
    for earlier, later in pairwise(trips):
        assert earlier.exit_time is not None
        assert later.entry_time is not None
        assert earlier.exit_time <= later.entry_time
    if strategy.rebalance == "every_close":
        assert all(trip.exit_time is None or candles_held(trip, strategy) <= 1 for trip in trips)


def candles_held(trip: RoundTrip, strategy: Follower) -> float:
    assert trip.entry_time is not None
    assert trip.exit_time is not None
    return (trip.exit_time - trip.entry_time) / strategy.interval.delta
