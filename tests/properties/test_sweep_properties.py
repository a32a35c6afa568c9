"""Sweeps of any signals on any market: the same as a plain loop, and as the honest backtest close by close."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path as File
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.parity.markets_at_hand import START, random_walk
from tests.unit.execution_world import SYMBOL, instrument, limits
from tests.unit.strategies_at_hand import Follower
from trader.domain.decision import Forecast
from trader.domain.instrument import Bracket
from trader.domain.interval import Interval
from trader.execution.fills import Costs
from trader.market.candles import parse_candles
from trader.market.funding import parse_funding
from trader.portfolio.policy import SignPolicy
from trader.research.backtest import Backtest, Terms, run_backtest
from trader.research.path import Path
from trader.research.sweep import sides, sweep
from trader.research.walk import Deal

HOUR = Interval.parse("1h")
FEE, SLIPPAGE, SPREAD = Decimal("0.0005"), Decimal("0.0001"), Decimal("0.0002")
MONEY = 100_000_000
TIERS = (
    Bracket(Decimal(0), Decimal(2 * MONEY), 125, Decimal("0.01"), Decimal(0)),
    Bracket(Decimal(2 * MONEY), Decimal("1e15"), 125, Decimal("0.02"), Decimal(MONEY) / 50),
)
FINE = instrument(
    tick="1e-12", step="1e-12", min_quantity="1e-12", max_quantity="1e15", min_notional="0", brackets=TIERS
)

seeds = st.integers(0, 2**31)


def plain(side: NDArray[np.int8], prices: NDArray[np.float64], funding: NDArray[np.float64], deal: Deal) -> list[float]:
    """One close after another, in the words of the convention, without margin."""
    wallet, units, entry, told = deal.equity, 0.0, 0.0, []
    for close, price in enumerate(prices):
        if close:
            wallet -= units * (funding[close] - funding[close - 1])
        equity = wallet + units * (price - entry)
        size = deal.exposure * (equity if deal.capital is None else deal.capital) / price
        if units and (deal.reopen or np.sign(units) != side[close]):
            paid = price * (1 - np.sign(units) * deal.move)
            wallet += units * (paid - entry) - abs(units) * paid * deal.fee
            units = 0.0
        if side[close] and not units:
            units, entry = side[close] * size, price * (1 + side[close] * deal.move)
            wallet -= abs(units) * entry * deal.fee
        told.append(wallet + units * (price - entry))
    return told


deals = st.builds(
    Deal,
    equity=st.sampled_from([1.0, 100.0, 1e7]),
    exposure=st.floats(0.01, 2),
    capital=st.sampled_from([None, 1.0, 30.0]),
    fee=st.sampled_from([0.0, 0.0005, 0.02]),
    move=st.sampled_from([0.0, 0.0002, 0.01]),
    reopen=st.booleans(),
)


@pytest.mark.parametrize("piece", [1, 3, 50, 8192])
@given(deals, seeds, st.integers(1, 400), st.sampled_from([0.0, 0.1, 0.9]))
def test_a_sweep_is_what_a_plain_loop_says(piece: int, deal: Deal, seed: int, closes: int, keeps: float) -> None:
    chance = np.random.default_rng(seed)
    prices = np.exp(np.cumsum(chance.normal(0, 0.02, closes)))
    funding = np.cumsum(chance.normal(0, 2e-4, closes)) * prices
    moves = np.where(chance.random((3, closes)) < keeps, 0, chance.integers(-1, 2, (3, closes)))
    signals = sides(moves)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trader.research.sweep._PIECE", piece)
        found = sweep(signals, Path(prices, funding - funding[0]), deal)
    for row, equity in zip(signals, found.equity, strict=True):
        told = plain(row, prices, funding, deal)
        assert np.abs(equity - told).max() <= 1e-12 * max(1, np.abs(told).max())
    assert found.net_return == pytest.approx(found.equity[:, -1] / deal.equity - 1)


forecasts = st.lists(st.sampled_from([0.0, -0.0, 0.01, -0.01, 0.002, -0.002, 0.005]), max_size=30)


@given(forecasts, st.sampled_from([0.0, 0.005]))
def test_sides_follow_the_policy_close_by_close(said: list[float], threshold: float) -> None:
    policy, held, told = SignPolicy(threshold), 0, []
    for value in said:
        held = policy.direction(Forecast(value, 0.0), held)
        told.append(held)
    assert sides(np.array(said).reshape(1, -1), threshold)[0].tolist() == told


@st.composite
def followers(draw: st.DrawFn) -> Follower:
    exposure = draw(st.floats(0.05, 9))
    chance = np.random.default_rng(draw(seeds))

    def forecaster(candles: pl.DataFrame) -> pl.DataFrame:
        said = sides(chance.integers(-1, 2, candles.height) * (chance.random(candles.height) < 0.6)).astype(float)
        return candles.select("symbol", "close_time", pl.Series("forecast", said), pl.lit(0.0).alias("confidence"))

    return Follower(
        (SYMBOL,),
        exposure,
        int(exposure) + draw(st.integers(1, 3)),
        1e9,
        Interval(60 * draw(st.integers(1, 9))),
        forecaster,
        capital=draw(st.sampled_from([None, None, Decimal(MONEY) / 2])),
        rebalance=draw(st.sampled_from(["drift", "every_close"])),
    )


def honest(
    folder: File, strategy: Follower, drawdown: str, seed: int, volatility: float
) -> tuple[Backtest, Path, Deal]:
    """The backtest in steps so fine that they do not matter, and the same market and terms for a sweep."""
    market = random_walk(folder, seed, 160, volatility=volatility)
    assert market.funding is not None
    candles = parse_candles(market.candles.read_bytes(), market.candles.name)
    funding = parse_funding(market.funding.read_bytes(), market.funding.name)
    start = START + timedelta(hours=20)
    under = limits(max_drawdown=drawdown, max_leverage=str(strategy.leverage))
    terms = Terms(Decimal(MONEY), Costs(FEE, SLIPPAGE, SPREAD), under, start)
    result = run_backtest(strategy, candles, HOUR, funding, {SYMBOL: FINE}, terms)
    deal = Deal(
        equity=MONEY,
        exposure=strategy.exposure,
        capital=None if strategy.capital is None else float(strategy.capital),
        fee=float(FEE),
        move=float(SPREAD / 2 + SLIPPAGE),
        reopen=strategy.rebalance == "every_close",
        leverage=strategy.leverage,
        max_leverage=strategy.leverage,
        max_drawdown=float(drawdown),
        brackets=FINE.brackets,
    )
    return result, Path.of(candles, HOUR, strategy.interval, funding, start=start), deal


@given(
    followers(),
    st.sampled_from(["1", "1", "0.3"]),
    seeds,
    st.sampled_from([0.005, 0.02, 0.06]),
    st.sampled_from([7, 8192]),
)
def test_a_sweep_is_what_the_honest_backtest_says(
    strategy: Follower, drawdown: str, seed: int, volatility: float, piece: int
) -> None:
    with TemporaryDirectory() as folder:
        result, path, deal = honest(File(folder), strategy, drawdown, seed, volatility)
    assert [report.close for report in result.closes] == list(path.closes)
    signals = np.array([report.forecasts[SYMBOL].value for report in result.closes])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trader.research.sweep._PIECE", piece)
        found = sweep(signals, path, deal)
    told = np.array([float(report.equity) for report in result.closes])
    assert np.abs(found.equity[0] - told).max() <= 1e-10 * MONEY
    assert found.fees[0] == pytest.approx(float(result.fees), abs=1e-9 * MONEY)
    assert found.funding[0] == pytest.approx(float(result.funding), abs=1e-9 * MONEY)
    halted = [place for place, report in enumerate(result.closes) if report.state != "ACTIVE"]
    assert found.stopped[0] == (halted[0] if halted else -1)
