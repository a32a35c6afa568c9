"""What the research earned in money: its curves and returns, its mistakes made here only, and what is right."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from tests.unit.execution_world import SYMBOL, at, flat_bracket, instrument, ledger, liquidated
from tests.unit.forecast_frames import frame_of
from trader.forecast.linear import LinearForecaster
from trader.research.path import Path as Market
from trader.research.sweep import sweep
from trader.research.walk import Deal

FEE = 0.00045
Floats = NDArray[np.float64]


@pytest.fixture(scope="module")
def oracles(shared: Path) -> Path:
    return shared / "data" / "seed-oracles"


@pytest.fixture(scope="module")
def sixteen(oracles: Path) -> tuple[Floats, Floats]:
    """Sides of the printed lag 1 model and log returns of the 411 bars it was tested on."""
    bars = pl.read_parquet(oracles / "ADAUSDT_16h_seed_bars.parquet")[1230:]
    return np.sign(-0.000931 - 0.08157685 * bars["close_log_return_lag_1"].to_numpy()), bars[
        "close_log_return"
    ].to_numpy()


@pytest.fixture(scope="module")
def twelve(oracles: Path) -> tuple[Floats, Floats]:
    """Sides of the saved AR(2) and log returns of the 171 half days it was tested on."""
    hours = pl.read_parquet(oracles / "ADAUSDT_1h_close_2024-11_2025-11.parquet")
    halves = hours.group_by(pl.col("open_time").dt.truncate("12h"), maintain_order=True).agg(pl.col("close").last())
    returns = np.diff(np.log(halves["close"].to_numpy()))
    forecasts = -0.00084034 - 0.15595101 * returns[1:-1] - 0.10587536 * returns[:-2]
    return np.sign(forecasts)[-171:], returns[-171:]


def saved(oracles: Path, name: str) -> Floats:
    return pl.read_csv(oracles / name).to_numpy()[:, -1].astype(np.float64)


def seed_constant(growth: Floats) -> float:
    """The research's constant sizing: a short is paid the inverse of the price's growth, less its own mistake."""
    return float((growth - 1 - FEE - FEE * growth).sum())


def seed_compounding(growth: Floats) -> float:
    """The research's compounding: all growth first, then the fees of it, which therefore never compound."""
    value = np.cumprod(growth)
    return float(value[-1] - 1 - FEE * (np.append(1.0, value[:-1]) + value).sum())


def ours(side: Floats, returns: Floats, **deal: float) -> float:
    """The same trades in money: closed and opened anew at every close, flat after the last."""
    market = Market.of_prices(np.exp(np.append(0.0, np.cumsum(returns))))
    return float(sweep(np.append(side, 0.0), market, Deal(fee=FEE, reopen=True, **deal)).net_return[0])


def test_the_curves_of_sixteen_hours_are_the_saved_ones(sixteen: tuple[Floats, Floats], oracles: Path) -> None:
    side, returns = sixteen
    gross = np.cumsum(side * returns)
    assert gross == pytest.approx(saved(oracles, "cum_trade_log_return_16h_lag1.csv"), abs=1e-12)
    net = np.cumsum(side * returns + np.log(1 - 2 * 0.00035))
    assert net == pytest.approx(saved(oracles, "equity_net_16h_lag1.csv"), abs=1e-6)


def test_the_four_lag_curve_is_the_saved_one(oracles: Path) -> None:
    bars = pl.read_parquet(oracles / "ADAUSDT_16h_seed_bars.parquet")[1230:]
    lags = bars.select(f"close_log_return_lag_{lag}" for lag in (1, 2, 3, 4)).to_numpy()
    side = np.sign(-0.00054805 + lags @ np.array([-0.07923951, -0.02594776, -0.01998974, -0.00465055]))
    curve = np.cumsum(side * bars["close_log_return"].to_numpy())
    assert curve == pytest.approx(saved(oracles, "equity_16h_lags1234.csv"), abs=1e-6)


def test_the_constant_size_of_sixteen_hours_is_as_printed_and_a_short_earns_less_than_that(
    sixteen: tuple[Floats, Floats],
) -> None:
    side, returns = sixteen
    assert seed_constant(np.exp(side * returns)) == pytest.approx(1.5255723880675927, abs=1e-12)
    price = np.expm1(returns)
    by_hand = (side * price - FEE - FEE * (1 + price)).sum()
    assert ours(side, returns, capital=1.0) == pytest.approx(by_hand, abs=1e-12)
    assert by_hand == pytest.approx(1.171320, abs=5.1e-7)


def test_a_fee_is_paid_at_a_change_of_side_and_not_at_every_candle(sixteen: tuple[Floats, Floats]) -> None:
    side, returns = sixteen
    assert (len(side), np.count_nonzero(np.diff(side))) == (411, 198)
    market = Market.of_prices(np.exp(np.append(0.0, np.cumsum(returns))))
    sides = np.append(side, 0.0)
    held = sweep(sides, market, Deal(fee=FEE, capital=1.0))
    anew = sweep(sides, market, Deal(fee=FEE, capital=1.0, reopen=True))
    assert held.fees[0] == pytest.approx(199 * 2 * FEE, rel=0.02)
    assert anew.fees[0] == pytest.approx(411 * 2 * FEE, rel=0.02)


def test_the_returns_of_twelve_hours_are_as_printed(twelve: tuple[Floats, Floats], oracles: Path) -> None:
    side, returns = twelve
    assert np.cumsum(side * returns) == pytest.approx(saved(oracles, "cum_trade_log_return_12h_ar2.csv"), abs=1e-12)
    growth = np.exp(side * returns)
    assert seed_constant(growth) == pytest.approx(1.1394958201024834, abs=1e-12)
    printed = seed_compounding(growth)
    assert printed == pytest.approx(1.9156681138752365, abs=1e-12)
    # "leverage" multiplied the profit of the unlevered curve
    assert 4 * printed == pytest.approx(7.662672455500948, abs=1e-12)
    assert 8 * printed == pytest.approx(15.325344911001896, abs=1e-11)


@pytest.mark.parametrize(("leverage", "total"), [(1, 1.499), (4, 14.13), (8, 20.90)])
def test_true_compounding_of_twelve_hours_is_less_at_one_and_more_at_four_and_eight(
    leverage: int, total: float, twelve: tuple[Floats, Floats]
) -> None:
    side, returns = twelve
    bars = 1 + leverage * side * np.expm1(returns) - 2 * leverage * FEE
    assert bars.prod() - 1 == pytest.approx(total, abs=0.0051)
    # ours pays the closing fee on the value at exit, and sizes before it is paid
    assert ours(side, returns, exposure=leverage) == pytest.approx(total, rel=0.02)


LONG = {2: 133.779264, 4: 160.642570, 10: 182.648402, 50: 197.044335}
SHORT = {2: 396.039604, 4: 264.900663, 10: 220.994475, 60: 202.360877}


def test_the_printed_liquidation_prices_are_those_of_coin_margined_contracts() -> None:
    for leverage, price in LONG.items():
        assert 200 * leverage / (leverage + 1 - 0.005 * leverage) == pytest.approx(price, abs=1e-6)
    for leverage, price in SHORT.items():
        assert 200 * leverage / (leverage - 1 + 0.005 * leverage) == pytest.approx(price, abs=1e-6)


@pytest.mark.parametrize(
    ("quantity", "leverage", "kept", "taken"),
    [
        ("1", 2, "100.51", "100.50"),
        ("-1", 2, "298.50", "298.51"),
        ("1", 10, "180.91", "180.90"),
        ("-1", 10, "218.90", "218.91"),
    ],
)
def test_an_isolated_position_of_ours_is_liquidated_where_usdt_margin_says(
    quantity: str, leverage: int, kept: str, taken: str
) -> None:
    rules = instrument(brackets=flat_bracket("0.005"), step="1", min_quantity="1")
    account = ledger("1000", leverage)
    price = at("200")[SYMBOL]
    account.trade(rules, type(price)(quantity), price, reduce_only=False)
    assert liquidated(account, rules, at(kept)[SYMBOL]) is None
    gone = liquidated(account, rules, at(taken)[SYMBOL])
    assert gone is not None
    assert [one.realised for one in gone.executions] == [-200 / type(price)(leverage)]


def test_bitcoin_by_the_hour_is_judged_after_costs_too(shared: Path) -> None:
    """The hourly model's signal has no edge before costs; a fee on every change of side makes that a loss."""
    window = pl.col("open_time").is_between(
        pl.datetime(2025, 5, 18, time_zone="UTC"), pl.datetime(2025, 11, 7, 23, time_zone="UTC")
    )
    hours = pl.read_parquet(shared / "data" / "BTCUSDT_1h.parquet").filter(window).sort("open_time")
    returns = np.diff(np.log(hours["close"].to_numpy()))
    side = np.sign(2.2369e-05 - 0.00285642 * returns[:-1])[-1043:]
    market = Market.of_prices(np.exp(np.append(0.0, np.cumsum(returns[-1043:]))))
    free = sweep(np.append(side, 0.0), market, Deal()).net_return[0]
    paid = sweep(np.append(side, 0.0), market, Deal(fee=FEE)).net_return[0]
    assert np.mean(side * returns[-1043:] > 0) == pytest.approx(0.49856184084372, abs=1e-14)
    assert paid < free < 0


def test_the_walk_of_six_closes_forecasts_as_printed_and_sizes_by_what_is_really_there() -> None:
    """Lags are most recent first; a long of 1 from 100 at a price of 115 is worth 115, not the 85 of the research."""
    closes = np.array([160.0, 110.0, 150.0, 100.0, 90.0])[::-1]
    lags = np.diff(np.log(closes))[::-1][:2]
    assert lags == pytest.approx([0.3747, -0.3102], abs=5.1e-5)
    said = LinearForecaster((1, 2), (-0.15595101, -0.10587536), -0.00084034, None).forecast(frame_of(closes.tolist()))
    assert said["forecast"][-1] == pytest.approx(-0.0264, abs=5.1e-5)
    walk = np.array([10.0, 120.0, 90.0, 100.0, 115.0, 100.0])
    found = sweep(np.array([0.0, 0.0, 0.0, 1.0, 1.0, 0.0]), Market.of_prices(walk), Deal(equity=100.0, reopen=True))
    assert found.equity[0].tolist() == pytest.approx([100, 100, 100, 100, 115, 100], abs=1e-12)
    wrong = 100 - (115 - 100)
    assert (wrong / 115, found.equity[0, 4] / 115) == pytest.approx((0.739, 1.0), abs=5.1e-4)
