"""Backtest and third ledger agree on every close of tapes made to be rough: flips, resizes, funding, liquidations."""

from collections import Counter
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from tests.parity.markets_at_hand import (
    START,
    backtest,
    random_walk,
    require_parity,
    told_by_the_backtest,
    told_by_the_third_ledger,
)
from tests.unit.execution_world import SYMBOL, limits
from tests.unit.strategies_at_hand import Follower, momentum
from trader.domain.decision import State
from trader.domain.interval import Interval

CLOSES = 320
BARS = 4 * (CLOSES + 4)


def follower(exposure: float, leverage: int, band: float, interval: str = "4h") -> Follower:
    return Follower((SYMBOL,), exposure, leverage, band, Interval.parse(interval), momentum)


@pytest.mark.parametrize(
    ("exposure", "leverage", "band"), [(0.5, 2, 0.25), (0.5, 2, 0.0), (1.5, 3, 0.02), (0.9, 1, 0.1)]
)
@pytest.mark.parametrize("seed", [1, 2])
def test_every_close_of_a_calm_account_is_the_same(
    tmp_path: Path, seed: int, exposure: float, leverage: int, band: float
) -> None:
    market, strategy = random_walk(tmp_path, seed, BARS), follower(exposure, leverage, band)
    result = backtest(market, strategy, start=START + timedelta(hours=8), cycles=CLOSES)
    assert len(result.closes) == CLOSES
    kinds = Counter(why.split()[0] for report in result.closes for why in report.why.split("; "))
    assert kinds["close"] > 100
    assert kinds["increase"] + kinds["reduce"] > 20 or band > 0.05
    assert kinds["hold:"] > 0 or band == 0
    assert result.funding != 0
    require_parity(market, strategy, result)


@pytest.mark.parametrize("seed", range(8))
def test_an_account_at_five_times_its_equity_is_liquidated_alike(tmp_path: Path, seed: int) -> None:
    market, strategy = random_walk(tmp_path, seed, BARS), follower(5.0, 10, 0.05)
    result = backtest(market, strategy, start=START + timedelta(hours=8), cycles=CLOSES)
    assert len(result.closes) == CLOSES
    assert len(result.forced) == 1
    assert result.closes[-1].state is State.HALTED
    require_parity(market, strategy, result)


@pytest.mark.parametrize("hours", range(8, 968, 48))
def test_an_account_is_liquidated_alike_from_wherever_it_starts(tmp_path: Path, hours: int) -> None:
    market, strategy = random_walk(tmp_path, 11, BARS, volatility=0.03), follower(4.0, 5, 0.5)
    result = backtest(market, strategy, start=START + timedelta(hours=hours))
    assert len(result.forced) == 1
    require_parity(market, strategy, result)


def test_a_drawdown_guard_that_halts_leaves_the_same_money(tmp_path: Path) -> None:
    market, strategy = random_walk(tmp_path, 5, BARS), follower(2.0, 4, 0.1)
    result = backtest(market, strategy, under=limits(max_drawdown="0.3"), start=START + timedelta(hours=8))
    assert result.closes[-1].state is State.HALTED
    assert not result.forced
    assert any("flatten and halt" in report.why for report in result.closes)
    require_parity(market, strategy, result)


@pytest.mark.parametrize("interval", ["1h", "16h", "7h", "1d"])
def test_the_length_of_a_candle_does_not_matter(tmp_path: Path, interval: str) -> None:
    market, strategy = random_walk(tmp_path, 9, 2000, volatility=0.004), follower(1.0, 3, 0.01, interval)
    result = backtest(market, strategy, start=START + timedelta(days=3))
    assert result.closes[-1].close > START + timedelta(hours=2000 - 24)
    require_parity(market, strategy, result)


def test_the_last_close_of_a_tape_is_marked_at_its_last_price(tmp_path: Path) -> None:
    market, strategy = random_walk(tmp_path, 3, 400), follower(0.5, 2, 0.0)
    result = backtest(market, strategy, start=START + timedelta(hours=8))
    assert result.closes[-1].close == START + timedelta(hours=400)
    require_parity(market, strategy, result)


def test_one_step_more_or_less_is_noticed(tmp_path: Path) -> None:
    market, strategy = random_walk(tmp_path, 3, 400), follower(0.5, 2, 0.0)
    result = backtest(market, strategy, start=START + timedelta(hours=8))
    held = [(report.close, report.positions[SYMBOL]) for report in result.closes]
    for place in (0, 40, len(held) - 1):
        moved = [(close, quantity + (index == place)) for index, (close, quantity) in enumerate(held)]
        theirs = told_by_the_third_ledger(market, strategy.leverage, moved)
        assert [equity for _, equity in theirs] != [equity for _, equity in told_by_the_backtest(result)]


def test_the_money_of_a_run_adds_up(tmp_path: Path) -> None:
    market, strategy = random_walk(tmp_path, 4, BARS), follower(0.5, 2, 0.0)
    result = backtest(market, strategy, start=START + timedelta(hours=8))
    fills = [fill for _, fill in result.fills]
    assert sum((fill.quantity for fill in fills), Decimal(0)) == result.closes[-1].positions[SYMBOL]
    assert sum((fill.fee for fill in fills), Decimal(0)) == result.fees
    price = Decimal(repr(pl.read_parquet(market.candles)["close"][-1]))
    paid = sum((-fill.quantity * fill.price for fill in fills), Decimal(0))
    exact = result.start_equity + paid + result.closes[-1].positions[SYMBOL] * price - result.fees + result.funding
    assert abs(exact - result.closes[-1].equity) < Decimal("1e-8") * len(fills)
