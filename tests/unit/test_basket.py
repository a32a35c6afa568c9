"""The plain day loop does what the allocator does by names, and earns what the daemon's decisions earn in money."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from tests.unit.perpetuals_at_hand import DAY, SMALL, START, allocator, backtest, carry, perpetuals
from trader.domain.decision import State
from trader.execution.fills import Costs
from trader.market.panel import Panel, closes_of, panel_of
from trader.portfolio.inverse_volatility import Wish
from trader.portfolio.policy import TenthPolicy
from trader.research.attribution import by_cause, exposures, portfolio_metrics, realised_volatility, shares, weights_of
from trader.research.basket import carry_basket

FREE = Costs(Decimal(0), Decimal(0), Decimal(0))


@pytest.fixture(scope="module")
def panel() -> Panel:
    return panel_of(perpetuals(5, 20, 60), DAY)


@pytest.mark.parametrize("net", [None, 0.1])
def test_every_close_of_the_loop_is_the_allocator_s(panel: Panel, net: float | None) -> None:
    made, policy = allocator(net=net, turnover=0.4), TenthPolicy()
    section, basket = SMALL.section(panel), carry_basket(panel, SMALL, policy, made, 0.0)
    targets = policy.targets(section.tenth)
    held = dict.fromkeys(panel.symbols, 0.0)
    for row in range(len(panel.close) - 1):
        wishes = {
            symbol: Wish(targets[row, column], section.volatility[row, column], section.spread[row, column])
            for column, symbol in enumerate(panel.symbols)
            if section.members[row, column]
        }
        last = panel.listed[row] & ~panel.listed[row + 1]
        gone = {panel.symbols[column] for column in np.flatnonzero(last)}
        after = {**held, **made.weights(wishes, held, gone)}
        assert list(after.values()) == pytest.approx(basket.weights[row].tolist(), abs=1e-12)
        growth = 1 + basket.prices[row] + basket.funding[row]
        moves = np.nan_to_num(panel.close[row + 1] / panel.close[row] - 1)
        held = {s: after[s] * (1 + moves[column]) / growth for column, s in enumerate(panel.symbols)}


def test_limits_hold_in_the_loop_and_what_is_gone_is_not_held(panel: Panel) -> None:
    made = allocator(net=0.2, turnover=0.25)
    basket = carry_basket(panel, SMALL, TenthPolicy(), made, 0.001)
    assert np.abs(basket.weights).max() <= made.cap + 1e-12
    assert np.abs(basket.weights).sum(axis=1).max() <= made.gross + 1e-12
    assert np.abs(basket.weights.sum(axis=1)).max() <= 0.2 + 1e-12
    assert (basket.weights[:-1][panel.listed[:-1] & ~panel.listed[1:]] == 0).all()
    assert basket.cost == pytest.approx(0.001 * basket.traded)
    assert basket.earned == pytest.approx((1 - basket.cost) * (1 + basket.prices + basket.funding) - 1)


def test_in_money_it_earns_the_same_but_for_whole_steps() -> None:
    candles = perpetuals(5, 20, 60)
    strategy = carry(candles, net=0.2)
    result = backtest(candles, strategy, costs=FREE)
    panel = panel_of(candles, DAY)
    first = closes_of(panel).index(result.closes[0].close)
    started = replace(panel, dollar_volume=panel.dollar_volume.copy())
    basket = carry_basket(started, SMALL, TenthPolicy(), strategy.allocator, 0.0)
    # the loop starts as soon as it can, the backtest later; from the same book on they go the same way
    for report in result.closes[20:-1]:
        row = closes_of(panel).index(report.close)
        held = weights_of(report)
        ours = {s: basket.weights[row, column] for column, s in enumerate(panel.symbols) if basket.weights[row, column]}
        assert row >= first
        assert held == pytest.approx({s: ours.get(s, 0.0) for s in held}, abs=0.02)


def test_what_was_held_and_whose_profit_it_was_is_told_from_the_run() -> None:
    candles = perpetuals(6, 20, 60)
    result = backtest(candles, carry(candles))
    parts = shares(result.fills, result.forced, result.bookings, result.closes)
    whole = by_cause(parts)
    assert whole["net"] == result.closes[-1].equity - result.start_equity
    assert whole["fees"] == -result.fees
    assert whole["funding"] == result.funding
    assert whole["slippage"] < 0
    told = exposures(result.closes, result.fills, DAY)
    assert [one.close for one in told] == [report.close for report in result.closes]
    assert all(one.names <= one.universe or one.names for one in told)
    assert all(abs(one.net) <= one.gross + 1e-12 and one.largest <= one.gross + 1e-12 for one in told)
    assert max(one.turnover for one in told) <= 0.3 + 0.01
    measured = portfolio_metrics(result.closes, DAY)
    assert measured["n"] == len(result.closes) - 1
    assert realised_volatility([report.equity for report in result.closes], DAY) == pytest.approx(
        (measured["std"] or 0.0) * DAY.per_year**0.5, rel=0.3
    )


def test_a_crash_takes_the_whole_basket_and_every_cent_of_it_is_somebody_s() -> None:
    candles = perpetuals(6, 20, 60)
    day = START + timedelta(days=30)
    wild = pl.col("open_time") == day
    crash = candles.with_columns(
        low=pl.when(wild).then((pl.col("low") * 0.2).round(4)).otherwise("low"),
        high=pl.when(wild).then((pl.col("high") * 3).round(4)).otherwise("high"),
    )
    result = backtest(crash, carry(crash, gross=2.0, turnover=2.0))
    taken = [execution for at, execution in result.forced if at == day + DAY.delta]
    assert len(taken) == len(result.forced) > 5
    assert [one.realised for one in taken] == sorted(one.realised for one in taken)
    assert list(result.cleared) == [taken[-1].symbol]
    after = [report for report in result.closes if report.close > day]
    assert {report.state for report in after} == {State.HALTED}
    assert {report.equity for report in after} == {Decimal(0)}
    assert after[0].why.startswith("liquidated: ")
    parts = shares(result.fills, result.forced, result.bookings, result.closes, result.cleared)
    whole = by_cause(parts)
    assert whole["net"] == -result.start_equity
    assert whole["other"] == sum(result.cleared.values()) != 0
    # what was taken met the price of its bar: that is no slippage of an order, though the bar ends at a close
    ordered = sum(abs(execution.quantity) * execution.price for _, execution in result.fills)
    assert 0 < -whole["slippage"] < ordered * Decimal("0.0004")
