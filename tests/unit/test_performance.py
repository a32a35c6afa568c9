from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import sqrt

import numpy as np
import pytest

from tests.unit.execution_world import SYMBOL
from trader.domain.interval import Interval
from trader.execution.round_trips import RoundTrip
from trader.research.performance import equity_performance, trade_performance

DAY = Interval.parse("1d")
START = datetime(2025, 1, 1, tzinfo=UTC)


def trip(gross: str, fees: str = "0", funding: str = "0", *, ended: bool = True) -> RoundTrip:
    """A long of 10 bought at 10."""
    end = START + timedelta(days=1) if ended else None
    amounts = (Decimal(gross), Decimal(fees), Decimal(funding))
    return RoundTrip(SYMBOL, Decimal(10), START, end, Decimal(10), Decimal(10), *amounts)


def test_the_costs_of_the_first_close_belong_to_the_first_candle() -> None:
    found = equity_performance([99.0, 110.0, 99.0], 100.0, DAY)
    assert found["candles"] == 2
    assert found["total_return"] == pytest.approx(-0.01)
    returns = np.array([0.1, -0.1])
    assert found["sharpe"] == pytest.approx(returns.mean() / returns.std(ddof=1) * sqrt(365), abs=1e-12)
    assert found["annual_volatility"] == pytest.approx(returns.std(ddof=1) * sqrt(365))
    assert found["sortino"] == pytest.approx(returns.mean() / sqrt(0.01 / 2) * sqrt(365), abs=1e-12)


def test_a_year_is_as_many_candles_as_fit_into_it() -> None:
    equity = 100.0 * np.exp(np.linspace(0.0, 0.5, 366))
    assert equity_performance(equity, 100.0, DAY)["annual_return"] == pytest.approx(np.exp(0.5) - 1)
    half_days = equity_performance(equity, 100.0, Interval.parse("12h"))
    assert half_days["annual_return"] == pytest.approx(np.exp(1.0) - 1)


def test_a_drawdown_is_measured_from_the_peak_the_start_included() -> None:
    found = equity_performance([100.0, 80.0, 90.0, 120.0, 90.0, 119.0, 121.0], 100.0, DAY)
    assert found["max_drawdown"] == pytest.approx(0.25)
    assert found["longest_drawdown"] == 2
    annual = found["annual_return"]
    assert annual is not None
    assert found["calmar"] == pytest.approx(annual / 0.25)


def test_what_never_falls_has_no_ratio_to_its_falls() -> None:
    found = equity_performance([100.0, 101.0, 103.0], 100.0, DAY)
    assert (found["max_drawdown"], found["longest_drawdown"]) == (0.0, 0)
    assert found["calmar"] is None
    assert found["sortino"] is None
    assert found["sharpe"] is not None


def test_a_ruined_account_has_no_annual_anything() -> None:
    found = equity_performance([100.0, 40.0, 0.0, 0.0], 100.0, DAY)
    assert found["total_return"] == -1.0
    assert found["max_drawdown"] == 1.0
    assert [found[name] for name in ("annual_return", "annual_volatility", "sharpe", "sortino", "calmar")] == [None] * 5


@pytest.mark.parametrize("equity", [[], [100.0]])
def test_less_than_a_candle_says_nothing(equity: list[float]) -> None:
    found = equity_performance(equity, 100.0, DAY)
    assert found.pop("candles") == 0
    assert set(found.values()) == {None}
    assert found.keys() | {"candles"} == equity_performance([100.0, 101.0], 100.0, DAY).keys()


def test_round_trips_are_hits_after_their_costs() -> None:
    trips = [trip("10", "1"), trip("0.5", "1"), trip("-4", "1", "0.5"), trip("7", "1", "-7"), trip("6", ended=False)]
    found = trade_performance(trips, Decimal(100))
    assert found["round_trips"] == 4
    assert found["hit_rate"] == 0.25
    assert found["profit_factor"] == 9 / (0.5 + 4.5 + 1)
    assert found["average_win"] == 0.09
    assert found["average_loss"] == pytest.approx(-0.02)
    assert (found["best_trade"], found["worst_trade"]) == (0.09, -0.045)
    assert (found["gross_return"], found["fee_return"], found["funding_return"]) == (0.195, -0.04, -0.065)
    assert found["cost_share"] == pytest.approx(10.5 / 19.5)


def test_no_cost_share_without_a_profit_to_share() -> None:
    found = trade_performance([trip("-1", "1")], Decimal(100))
    assert found["cost_share"] is None
    assert found["profit_factor"] == 0.0


def test_without_round_trips_only_the_returns_are_zero() -> None:
    found = trade_performance([], Decimal(100))
    assert (found["round_trips"], found["gross_return"]) == (0, 0.0)
    assert [found[name] for name in ("hit_rate", "profit_factor", "average_win", "best_trade")] == [None] * 4
