"""A day of carry worked by hand: whose sign is whose, and which side is held."""

import math
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from tests.unit.execution_world import instrument
from tests.unit.perpetuals_at_hand import DAY, SMALL, START, allocator, backtest, carry, perpetuals
from trader.domain.decision import Book, Forecast, State
from trader.errors import DataError, ModelError
from trader.forecast.volatility import blended_volatility
from trader.market.candles import with_close
from trader.market.panel import panel_of
from trader.portfolio.inverse_volatility import Wish
from trader.portfolio.policy import TenthPolicy
from trader.research.basket import carry_basket

PAID = {"AUSDT": 0.003, "BUSDT": 0.001, "CUSDT": -0.001, "DUSDT": -0.003}
DAYS = 6


def four(paid: dict[str, float] | None = None) -> pl.DataFrame:
    """Four symbols that move alike, so that nothing but funding tells them apart; longs of A pay 30 bp a day."""
    prices = [100.0, 102.0, 100.0, 102.0, 100.0, 102.0]
    return with_close(
        pl.concat(
            pl.DataFrame(
                {
                    "symbol": symbol,
                    "open_time": [START + timedelta(days=day) for day in range(DAYS)],
                    "open": [100.0, *prices[:-1]],
                    "high": [103.0] * DAYS,
                    "low": [99.0] * DAYS,
                    "close": prices,
                    "volume": 1.0,
                    "quote_volume": 1e6,
                    "funding_rate": rate,
                },
                schema_overrides={"open_time": pl.Datetime("ms", "UTC")},
            )
            for symbol, rate in (paid or PAID).items()
        ),
        DAY,
    )


def last_day(candles: pl.DataFrame) -> dict[str, dict[str, float]]:
    everyone = replace(SMALL, tenths_kept=10)
    told = everyone.forecast(candles).filter(pl.col("close_time") == candles["close_time"].max())
    return {row["symbol"]: row for row in told.iter_rows(named=True)}


def targets_of(policy: TenthPolicy) -> dict[str, float]:
    return policy.of({symbol: Forecast(row["forecast"], 0.0) for symbol, row in last_day(four()).items()})


def test_the_carry_of_a_long_is_what_it_does_not_pay() -> None:
    told = last_day(four())
    assert {symbol: row["carry"] for symbol, row in told.items()} == pytest.approx(
        {"AUSDT": -1.095, "BUSDT": -0.365, "CUSDT": 0.365, "DUSDT": 1.095}
    )
    deviation = math.sqrt((9 + 1 + 1 + 9) / 3)
    assert [row["forecast"] for row in told.values()] == pytest.approx(
        [number / deviation for number in (-3, -1, 1, 3)]
    )
    assert [row["tenth"] for row in told.values()] == [1, 3, 6, 8]
    assert [row["spread"] for row in told.values()] == pytest.approx([4 / 202] * 4)
    move = math.log(1.02)
    assert [row["volatility"] for row in told.values()] == pytest.approx([move] * 4)
    assert [row["realised"] for row in told.values()] == pytest.approx([move] * 4)


def test_harvest_shorts_what_longs_pay_for_and_holds_what_pays_longs() -> None:
    curve = [0.9 * math.tanh(alpha / 2) for alpha in (-1, -5 / 9, 1 / 9, 5 / 9)]
    assert targets_of(TenthPolicy("harvest")) == pytest.approx(dict(zip(PAID, curve, strict=True)))


def test_pay_is_the_mirror_image_of_harvest() -> None:
    assert targets_of(TenthPolicy("pay")) == pytest.approx({name: -w for name, w in targets_of(TenthPolicy()).items()})


def test_slope_offset_and_bound_shape_the_curve() -> None:
    steep = TenthPolicy(slope=50.0, bound=0.5).targets(np.arange(11))
    assert steep.tolist()[1:] == pytest.approx([-0.5] * 5 + [0.5] * 5, abs=0.01)
    shifted = TenthPolicy(offset=1.0).targets(np.arange(11))
    assert shifted[10] == pytest.approx(0.0)
    assert shifted[0] == 0.0


def test_a_harvested_day_is_paid_for_by_the_other_side() -> None:
    candles = four()
    everyone = replace(SMALL, tenths_kept=10)
    result = backtest(candles, replace(carry(candles), forecaster=everyone), first_day=4)
    first = result.closes[0]
    assert {symbol: quantity > 0 for symbol, quantity in first.positions.items()} == {
        "AUSDT": False, "BUSDT": False, "CUSDT": True, "DUSDT": True,
    }  # fmt: skip
    assert result.funding > 0
    assert all(booking.amount > 0 for booking in result.bookings)
    paying = backtest(candles, replace(carry(candles, TenthPolicy("pay")), forecaster=everyone), first_day=4)
    assert all(booking.amount < 0 for booking in paying.bookings)


def test_a_day_without_a_difference_is_no_decision() -> None:
    assert last_day(four(dict.fromkeys(PAID, 0.0001))) == {}


def test_a_close_at_which_nothing_differs_is_passed_over_and_what_is_held_stays() -> None:
    fifth = pl.col("open_time") == START + timedelta(days=4)
    candles = four().with_columns(funding_rate=pl.when(fifth).then(0.0001).otherwise(pl.col("funding_rate")))
    everyone = replace(SMALL, tenths_kept=10)
    strategy = replace(carry(candles), forecaster=everyone)
    result = backtest(candles, strategy, first_day=4)
    assert [report.close for report in result.closes] == [START + timedelta(days=4), START + timedelta(days=6)]
    assert all(at != START + timedelta(days=5) for at, _ in result.fills)
    basket = carry_basket(panel_of(candles, DAY), everyone, TenthPolicy(), strategy.allocator, 0.001)
    assert basket.traded[4] == 0
    assert np.abs(basket.weights[4]).sum() > 0.1


def test_candles_without_funding_are_refused() -> None:
    with pytest.raises(DataError, match="Carry is funding"):
        SMALL.forecast(four().drop("funding_rate"))


def test_a_symbol_whose_funding_is_unknown_stands_outside_the_universe() -> None:
    candles = four().with_columns(
        funding_rate=pl.when(pl.col("symbol") == "BUSDT").then(None).otherwise(pl.col("funding_rate"))
    )
    assert sorted(last_day(candles)) == ["AUSDT", "CUSDT", "DUSDT"]


def test_a_forecast_without_its_volatility_is_no_portfolio() -> None:
    strategy = carry(four())
    rules = {symbol: instrument(symbol) for symbol in PAID}
    prices = dict.fromkeys(PAID, Decimal(100))
    book = Book(Decimal(1000), Decimal(1000), {}, prices, rules, State.ACTIVE)
    with pytest.raises(ModelError, match="volatility"):
        strategy.targets({"AUSDT": Forecast(1.0, 0.0), "BUSDT": Forecast(-1.0, 0.0)}, book)


def test_a_young_symbol_has_an_unbiased_volatility() -> None:
    returns = np.full((5, 2), 0.02)
    returns[:3, 1] = np.nan
    found = blended_volatility(returns, np.isfinite(returns), (21, 90), 60)
    assert found[-1] == pytest.approx([0.02, 0.02])
    assert np.isnan(found[2, 1])


def test_any_strategy_may_weigh_its_wishes_by_volatility() -> None:
    made = allocator(target_volatility=0.2, cap=1.0, gross=2.0, turnover=5.0)
    daily = 0.4 / math.sqrt(365)
    assert made.weights({"ADAUSDT": Wish(1.0, daily, 0.001)}, {}) == pytest.approx({"ADAUSDT": 0.5})
    calm_and_wild = made.weights({"AUSDT": Wish(1.0, daily, 0.001), "BUSDT": Wish(-1.0, 2 * daily, 0.001)}, {})
    assert calm_and_wild["AUSDT"] == pytest.approx(-2 * calm_and_wild["BUSDT"])


def test_what_left_the_universe_is_sold_for_money_and_what_is_wished_as_it_is_held_is_left_alone() -> None:
    made = allocator()
    wishes = {"AUSDT": Wish(1.0, 0.04, 0.01), "BUSDT": Wish(-1.0, 0.04, 0.01)}
    there = allocator(turnover=5.0).weights(wishes, {})
    assert made.weights(wishes, {**there, "GONEUSDT": 0.1}) == {"GONEUSDT": 0.0}


def test_a_held_symbol_is_traded_to_the_edge_of_its_buffer() -> None:
    made = allocator(turnover=5.0)
    wish = Wish(1.0, 0.04, 0.01)
    buffer = 0.3 * 0.01 / (2 * 0.04**2 * 365)
    wished = made.weights({"AUSDT": wish}, {})["AUSDT"]
    assert made.weights({"AUSDT": wish}, {"AUSDT": wished - buffer / 2}) == {}
    near = made.weights({"AUSDT": wish}, {"AUSDT": 0.05})
    assert near == pytest.approx({"AUSDT": wished - buffer})


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_portfolio_on_a_generated_market_stays_within_its_limits(seed: int) -> None:
    candles = perpetuals(seed, 20, 60)
    result = backtest(candles, carry(candles, net=0.3, turnover=0.25))
    for before, report in zip([None, *result.closes[:-1]], result.closes, strict=True):
        weights = {
            symbol: float(quantity * report.prices[symbol] / report.equity)
            for symbol, quantity in report.positions.items()
        }
        # what fees take from the equity of the moment, and one step a symbol
        assert sum(map(abs, weights.values())) <= 2.0 * 1.001
        assert max(map(abs, weights.values()), default=0.0) <= 0.2 * 1.001
        assert abs(sum(weights.values())) <= 0.3 + 0.002
        assert before is None or report.close - before.close == DAY.delta
