import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.unit.forecast_frames import INTERVAL, START, frame_of
from trader.errors import ModelError
from trader.forecast.linear import LinearForecaster

AR2 = LinearForecaster((1, 2), (-0.15595101, -0.10587536), -0.00084034, 0.02, 1.5)


def test_the_latest_return_is_lag_one() -> None:
    # Closes 90, 100, 150, 110, 160: the returns most recent first are 0.3747 and -0.3102.
    last = AR2.forecast(frame_of([90, 100, 150, 110, 160])).row(-1, named=True)
    assert last["forecast"] == pytest.approx(-0.0264, abs=5e-5)
    assert last["close_time"] == START + 5 * INTERVAL.delta
    assert last["confidence"] == pytest.approx(1 / (1 + math.exp(1.5 * last["forecast"] / 0.02)), rel=1e-11)


def test_lags_in_another_order_are_the_same_model() -> None:
    turned = LinearForecaster((2, 1), (-0.10587536, -0.15595101), -0.00084034, 0.02)
    frame = frame_of([90, 100, 150, 110, 160])
    assert turned.forecast(frame)["forecast"].to_list() == pytest.approx(
        AR2.forecast(frame)["forecast"].to_list(), abs=1e-12
    )


def test_there_is_no_forecast_before_the_warm_up_is_complete() -> None:
    assert AR2.warmup == 3
    assert AR2.forecast(frame_of([90, 100])).is_empty()
    assert AR2.forecast(frame_of([90, 100, 110])).height == 1
    assert AR2.forecast(frame_of([])).columns == ["symbol", "close_time", "forecast", "confidence"]


def test_confidence_is_nothing_where_nobody_measured_it() -> None:
    for unknown in (LinearForecaster((1,), (-0.1,), 0.0, None), LinearForecaster((1,), (-0.1,), 0.0, 0.02)):
        assert unknown.forecast(frame_of([90, 100]))["confidence"].to_list() == [0.0]


def test_a_larger_forecast_is_never_less_certain_and_none_is_a_coin_toss() -> None:
    known = LinearForecaster((1,), (1.0,), 0.0, 0.02, 1.5)
    found = known.forecast(frame_of([100, 100, 101, 99, 109, 5000]))
    assert found["confidence"][0] == 0.5
    assert found.sort(pl.col("forecast").abs())["confidence"].is_sorted()
    assert found["confidence"].max() == 1.0
    slack = LinearForecaster((1,), (1.0,), 0.0, 0.02, 0.0)
    assert slack.forecast(frame_of([100, 101, 5000]))["confidence"].to_list() == [0.5, 0.5]


def test_a_forecast_that_is_not_finite_is_refused() -> None:
    huge = LinearForecaster((1,), (1.7e308,), 0.0, 1.0)
    with pytest.raises(ModelError, match="forecast at 2024-01-02T16:00:00Z is not finite; look at"):
        huge.forecast(frame_of([1e-5, 1e5]))


@pytest.mark.parametrize(
    "arguments",
    [
        ((), (), 0.0, 1.0),
        ((0,), (1.0,), 0.0, 1.0),
        ((1, 1), (1.0, 1.0), 0.0, 1.0),
        ((1, 2), (1.0,), 0.0, 1.0),
        ((1,), (float("nan"),), 0.0, 1.0),
        ((1,), (1.0,), float("inf"), 1.0),
        ((1,), (1.0,), 0.0, 0.0),
        ((1,), (1.0,), 0.0, float("nan")),
        ((1,), (1.0,), 0.0, 1.0, -0.1),
        ((1,), (1.0,), 0.0, 1.0, float("inf")),
        ((1,), (1.0,), 0.0, None, 1.0),
    ],
)
def test_weights_that_make_no_model_are_refused(arguments: Any) -> None:
    with pytest.raises(ModelError, match="train the model again"):
        LinearForecaster(*arguments)


def test_forecasting_imports_no_torch(root: Path) -> None:
    code = "import trader.forecast.linear, sys; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
