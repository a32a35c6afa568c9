"""The numbers that the research printed, from the series it printed them from."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from trader.domain.interval import Interval
from trader.forecast.fit import fit_l1, fit_mse
from trader.forecast.linear import LinearForecaster
from trader.market.resample import resample
from trader.research.dataset import Rows, chronological_split, read_candles, supervised
from trader.research.metrics import Metrics, signal_metrics
from trader.research.train import import_pth

H16, H12, H1 = Interval.parse("16h"), Interval.parse("12h"), Interval.parse("1h")


@pytest.fixture(scope="module")
def oracles(shared: Path) -> Path:
    return shared / "data" / "seed-oracles"


@pytest.fixture(scope="module")
def broken(oracles: Path) -> pl.DataFrame:
    """The seed's own bars, a third of which are no 16h bars."""
    return pl.read_parquet(oracles / "ADAUSDT_16h_seed_bars.parquet")


@pytest.fixture(scope="module")
def true_bars(shared: Path) -> pl.DataFrame:
    return resample(read_candles(shared / "data" / "ADAUSDT_1h.parquet"), H1, H16)


@pytest.fixture(scope="module")
def half_days(oracles: Path) -> pl.DataFrame:
    """12h closes of the year that the AR(2) was fitted on; the file holds closes only."""
    hours = pl.read_parquet(oracles / "ADAUSDT_1h_close_2024-11_2025-11.parquet")
    ends = (pl.col("open_time").dt.truncate("12h") + H12.delta).cast(pl.Datetime("ms", "UTC"))
    return (
        hours.group_by(ends.alias("close_time"), maintain_order=True)
        .agg(pl.col("close").last())
        .with_columns(symbol=pl.lit("ADAUSDT"))
    )


def seed_rows(broken: pl.DataFrame, lags: tuple[int, ...]) -> Rows:
    features = broken.select(f"close_log_return_lag_{lag}" for lag in lags).to_numpy()
    return Rows(broken["datetime"].to_list(), features, broken["close_log_return"].to_numpy())


def score(rows: Rows, weights: tuple[float, ...], bias: float, interval: Interval) -> Metrics:
    start = chronological_split(len(rows.target), 0.25)
    return signal_metrics(bias + rows.features[start:] @ np.array(weights), rows.target[start:], interval)


LOSSES = {
    (1,): ((-0.08157685,), -0.00093100, 0.023980, 0.024742, 0.545012, 1.642048, 2.69458),
    (1, 2, 3, 4): (
        (-0.078161, -0.025071, -0.019939, -0.003296),
        -0.00048856,
        0.023968,
        0.024766,
        0.515815,
        0.649255,
        1.059495,
    ),
}


@pytest.mark.parametrize("lags", LOSSES)
def test_the_exact_l1_fits_of_the_seed_bars_are_the_printed_ones(broken: pl.DataFrame, lags: tuple[int, ...]) -> None:
    weights, bias, train, test, win_rate, total, sharpe = LOSSES[lags]
    rows = seed_rows(broken, lags)
    count = chronological_split(len(rows.target), 0.25)
    assert (count, len(rows.target) - count) == (1230, 411)
    fit = fit_l1(rows.features[:count], rows.target[:count])
    assert fit.weights == pytest.approx(weights, abs=5.1e-7 if len(lags) > 1 else 5.1e-9)
    assert fit.bias == pytest.approx(bias, abs=5.1e-9)
    assert fit.loss == pytest.approx(train, abs=5.1e-7)
    residuals = rows.target[count:] - fit.bias - rows.features[count:] @ np.array(fit.weights)
    assert float(np.abs(residuals).mean()) == pytest.approx(test, abs=5.1e-7)
    found = score(rows, fit.weights, fit.bias, H16)
    assert found["win_rate"] == pytest.approx(win_rate, abs=5.1e-7)
    assert found["total_log_return"] == pytest.approx(total, abs=5.1e-7)
    assert found["sharpe"] == pytest.approx(sharpe, abs=5.1e-6)


def test_the_printed_weights_give_the_printed_results(broken: pl.DataFrame) -> None:
    one = score(seed_rows(broken, (1,)), (-0.08157685,), -0.000931, H16)
    assert one["n"] == 411
    assert one["win_rate"] == pytest.approx(0.545012, abs=5.1e-7)
    assert one["total_log_return"] == pytest.approx(1.642048, abs=5.1e-7)
    assert one["sharpe"] == pytest.approx(2.69458, abs=5.1e-6)
    assert one["max_drawdown_log"] == pytest.approx(-0.50213, abs=5.1e-6)
    rows = seed_rows(broken, (1, 2, 3, 4))
    weights = np.array([-0.07923951, -0.02594776, -0.01998974, -0.00465055])
    losses = np.abs(rows.target + 0.00054805 - rows.features @ weights)
    assert (losses[:1230].mean(), losses[1230:].mean()) == pytest.approx((0.023968, 0.024761), abs=5.1e-7)
    four = score(
        seed_rows(broken, (1, 2, 3, 4)), (-0.07923951, -0.02594776, -0.01998974, -0.00465055), -0.00054805, H16
    )
    assert four["win_rate"] == pytest.approx(0.523114, abs=5.1e-7)
    assert four["total_log_return"] == pytest.approx(0.790041, abs=5.1e-7)
    assert four["sharpe"] == pytest.approx(1.289875, abs=5.1e-7)
    assert four["max_drawdown_log"] == pytest.approx(-0.495437, abs=5.1e-7)


def test_the_equity_curve_of_the_seed_bars_is_the_saved_one(broken: pl.DataFrame, oracles: Path) -> None:
    saved = pl.read_csv(oracles / "cum_trade_log_return_16h_lag1.csv")["cum_trade_log_return"].to_numpy()
    rows = seed_rows(broken, (1,))
    start = chronological_split(len(rows.target), 0.25)
    signal = np.sign(-0.000931 - 0.08157685 * rows.features[start:, 0])
    assert np.cumsum(signal * rows.target[start:]) == pytest.approx(saved, abs=1e-6)


def test_the_seed_bars_hold_up_and_down_candles_as_counted(broken: pl.DataFrame) -> None:
    ups = (broken["close_log_return"] > 0).to_numpy()
    assert (ups[:1230].sum(), (~ups[:1230]).sum()) == (601, 629)
    assert (ups[1230:].sum(), (~ups[1230:]).sum()) == (194, 217)


def test_true_bars_match_two_thirds_of_the_seed_closes(broken: pl.DataFrame, true_bars: pl.DataFrame) -> None:
    labels = broken.select(pl.col("datetime").dt.replace_time_zone("UTC").cast(pl.Datetime("ms", "UTC")), "close")
    both = labels.join(true_bars, left_on="datetime", right_on="open_time", how="left", suffix="_true")
    assert both.height == 1641
    assert (both["close"] == both["close_true"]).sum() == 1098


def test_true_bars_of_the_seed_window_say_less_than_the_broken_ones(
    broken: pl.DataFrame, true_bars: pl.DataFrame
) -> None:
    first, last = (moment.replace(tzinfo=true_bars["close_time"][0].tzinfo) for moment in broken["datetime"][[0, -1]])
    everything = supervised(true_bars, (1,))
    inside = [row for row, close in enumerate(everything.close_times) if first <= close <= last]
    rows = Rows([everything.close_times[row] for row in inside], everything.features[inside], everything.target[inside])
    assert len(inside) == 1641
    assert score(rows, (-0.08157685,), -0.000931, H16)["sharpe"] == pytest.approx(2.18, abs=0.0051)
    fit = fit_l1(rows.features[:1230], rows.target[:1230])
    assert fit.weights == pytest.approx((-0.060365,), abs=5.1e-7)
    assert fit.bias == pytest.approx(-0.0014194, abs=5.1e-8)
    assert signal_metrics(-np.ones(411), rows.target[1230:], H16)["sharpe"] == pytest.approx(1.78, abs=0.0051)


def test_least_squares_of_twelve_hours_gives_the_saved_weights(half_days: pl.DataFrame, oracles: Path) -> None:
    assert half_days.height == 684
    rows = supervised(half_days, (1, 2), pool=4)
    count = chronological_split(len(rows.target), 0.25)
    assert (len(rows.target), count) == (679, 509)
    fit = fit_mse(rows.features[:count], rows.target[:count])
    saved = import_pth(
        oracles / "model_weights_12h_AR2.pth",
        lags=(1, 2),
        symbol="ADAUSDT",
        interval=H12,
        name="seed",
        created=rows.close_times[-1],
    ).forecaster
    assert saved.weights == pytest.approx((-0.15595101, -0.10587536), abs=5.1e-9)
    assert fit.weights == pytest.approx(saved.weights, abs=5e-8)
    assert fit.bias == pytest.approx(saved.bias, abs=5e-8)
    # had it dropped the rows of its own two lags only, it would have been another model
    own = supervised(half_days, (1, 2))
    other = fit_mse(own.features[:count], own.target[:count])
    assert (len(own.target), *other.weights) == pytest.approx((681, -0.1550, -0.1043), abs=5.1e-5)
    found = score(rows, fit.weights, fit.bias, H12)
    assert found["win_rate"] == pytest.approx(0.611765, abs=5.1e-7)
    assert found["total_log_return"] == pytest.approx(1.165759, abs=5.1e-7)
    assert found["sharpe"] == pytest.approx(5.456, abs=5.1e-4)
    # the printed "Sharpe 19" annualised half days as if they were hours
    assert (found["sharpe"] or 0.0) * np.sqrt(8760 / 730) == pytest.approx(19, abs=0.51)


def test_the_saved_twelve_hour_curve_comes_from_the_forecaster_that_trades(
    half_days: pl.DataFrame, oracles: Path
) -> None:
    saved = pl.read_csv(oracles / "cum_trade_log_return_12h_ar2.csv")["cum_trade_log_return"].to_numpy()
    forecaster = LinearForecaster((1, 2), (-0.15595101, -0.10587536), -0.00084034, None)
    forecast = forecaster.forecast(half_days)["forecast"].to_numpy()[:-1][-len(saved) :]
    target = supervised(half_days, (1, 2)).target[-len(saved) :]
    assert np.cumsum(np.sign(forecast) * target) == pytest.approx(saved, abs=1e-6)
    assert signal_metrics(forecast, target, H12)["win_rate"] == pytest.approx(0.614035, abs=5.1e-7)


def test_hourly_bitcoin_is_fitted_as_printed(shared: Path) -> None:
    window = pl.col("open_time").is_between(
        pl.datetime(2025, 5, 18, time_zone="UTC"), pl.datetime(2025, 11, 7, 23, time_zone="UTC")
    )
    candles = read_candles(shared / "data" / "BTCUSDT_1h.parquet").filter(window)
    rows = supervised(candles, (1,), pool=5)
    count = chronological_split(len(rows.target), 0.25)
    assert (candles.height, len(rows.target), count) == (4176, 4170, 3127)
    fit = fit_mse(rows.features[:count], rows.target[:count])
    assert fit.weights == pytest.approx((-0.00285642,), abs=5.1e-9)
    assert fit.bias == pytest.approx(2.2369e-05, abs=5.1e-10)
    assert fit.loss == pytest.approx(1.20113e-5, abs=5.1e-11)
    found = score(rows, fit.weights, fit.bias, H1)
    assert found["win_rate"] == pytest.approx(0.49856184084372, abs=1e-14)
    assert np.exp(found["max_drawdown_log"] or 0.0) - 1 == pytest.approx(-0.1870171, abs=5.1e-8)
    assert found["average_win"] == pytest.approx(0.0030652952, abs=5.1e-11)
    assert found["average_loss"] == pytest.approx(-0.0031646340, abs=5.1e-11)
