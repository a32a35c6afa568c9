"""Backtest and third ledger agree on real hourly candles of ADAUSDT with their funding, wherever those are at hand."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from tests.parity.markets_at_hand import Market, backtest, require_parity
from tests.unit.execution_world import SYMBOL, limits
from tests.unit.strategies_at_hand import Follower, momentum
from trader.domain.decision import State
from trader.domain.interval import Interval

FOLLOWER = Follower((SYMBOL,), 0.5, 2, 0.25, Interval.parse("16h"), momentum)
START = datetime(2023, 2, 11, tzinfo=UTC)


def always_up(candles: pl.DataFrame) -> pl.DataFrame:
    return candles.select("symbol", "close_time", forecast=pl.lit(0.01), confidence=pl.lit(0.0))


@pytest.fixture
def ada(shared: Path) -> Market:
    candles, funding = (shared / "data" / f"ADAUSDT_{what}.parquet" for what in ("1h", "funding"))
    if not candles.is_file() or not funding.is_file():
        pytest.skip("../shared has no ADAUSDT candles and funding")
    return Market(candles, funding, Decimal("0.00001"))


@pytest.mark.parametrize(("interval", "band"), [("16h", 0.25), ("12h", 0.0)])
def test_a_thousand_closes_are_the_same(ada: Market, interval: str, band: float) -> None:
    strategy = replace(FOLLOWER, interval=Interval.parse(interval), band=band)
    result = backtest(ada, strategy, start=START, cycles=1000)
    assert len(result.closes) == 1000
    kinds = Counter(why.split()[0] for report in result.closes for why in report.why.split("; "))
    assert kinds["close"] > 300
    require_parity(ada, strategy, result)


def test_a_drawdown_guard_halts_and_the_money_stays_the_same(ada: Market) -> None:
    result = backtest(ada, FOLLOWER, under=limits(max_drawdown="0.1"), start=START, cycles=300)
    assert result.closes[-1].state is State.HALTED
    assert result.closes[-1].positions[SYMBOL] == 0
    require_parity(ada, FOLLOWER, result)


def test_the_tenth_of_october_2025_liquidates_alike(ada: Market) -> None:
    strategy = replace(FOLLOWER, exposure=5.0, leverage=10, interval=Interval.parse("8h"), forecaster=always_up)
    result = backtest(ada, strategy, start=datetime(2025, 10, 9, tzinfo=UTC), cycles=300)
    assert len(result.closes) == 300
    assert [at for at, _ in result.forced] == [datetime(2025, 10, 10, 20, tzinfo=UTC)]
    require_parity(ada, strategy, result)


@pytest.mark.parametrize("month", range(1, 13))
def test_whoever_holds_too_much_in_2021_is_liquidated_alike(ada: Market, month: int) -> None:
    strategy = replace(FOLLOWER, exposure=8.0, leverage=9)
    result = backtest(ada, strategy, start=datetime(2021, month, 1, tzinfo=UTC), cycles=300)
    assert len(result.forced) == 1
    require_parity(ada, strategy, result)
