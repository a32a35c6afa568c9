import math
from itertools import pairwise

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.forecast_frames import frame_of
from trader.forecast.features import log_returns, significant
from trader.forecast.linear import LinearForecaster


@st.composite
def closes(draw: st.DrawFn, least: int = 1, most: int = 300) -> list[float]:
    seed, count = draw(st.integers(0, 2**32 - 1)), draw(st.integers(least, most))
    walk = np.random.default_rng(seed).standard_t(3, count).cumsum() * draw(st.sampled_from([1e-4, 0.03, 0.3]))
    return [round(float(price), 5) for price in np.exp(np.clip(walk, -9, 9))]


@st.composite
def forecasters(draw: st.DrawFn) -> LinearForecaster:
    lags = draw(st.lists(st.integers(1, 8), min_size=1, max_size=5, unique=True))
    weights = draw(st.lists(st.floats(-2, 2), min_size=len(lags), max_size=len(lags)))
    return LinearForecaster(tuple(lags), tuple(weights), draw(st.floats(-0.01, 0.01)), draw(st.floats(1e-6, 1)))


@given(forecasters(), closes(), st.data())
def test_a_forecast_never_changes_when_the_future_arrives(
    model: LinearForecaster, prices: list[float], data: st.DataObject
) -> None:
    frame = frame_of(prices)
    known = data.draw(st.integers(0, frame.height))
    whole = model.forecast(frame)
    assert whole.height == max(0, frame.height - model.warmup + 1)
    assert model.forecast(frame[:known]).equals(whole[: max(0, known - model.warmup + 1)])


@given(forecasters(), closes(), st.data())
def test_the_warm_up_window_alone_gives_the_same_last_row_as_the_whole_history(
    model: LinearForecaster, prices: list[float], data: st.DataObject
) -> None:
    frame = frame_of([*([1.0] * model.warmup), *prices])
    end = data.draw(st.integers(model.warmup, frame.height))
    window = model.forecast(frame[end - model.warmup : end])
    assert window.height == 1
    assert window.equals(model.forecast(frame)[end - model.warmup : end - model.warmup + 1])


@given(forecasters(), closes(), closes())
def test_symbols_do_not_touch_each_other(model: LinearForecaster, ada: list[float], btc: list[float]) -> None:
    parts = [frame_of(ada, "ADAUSDT"), frame_of(btc, "BTCUSDT")]
    together = model.forecast(pl.concat(parts))
    assert together.equals(pl.concat(model.forecast(part) for part in parts))


@given(closes(least=2, most=2000), st.integers(0, 64))
def test_log_returns_take_one_element_at_a_time_whatever_their_number_and_alignment(
    prices: list[float], cut: int
) -> None:
    part = prices[min(cut, len(prices) - 2) :]
    returns = frame_of(part).select(log_returns())["close"].to_list()
    assert returns == [None, *(math.log(after / before) for before, after in pairwise(part))]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=20))
def test_rounding_gives_the_nearest_number_of_twelve_digits_and_is_idempotent(values: list[float]) -> None:
    rounded = significant(np.array(values))
    for value, result in zip(values, rounded.tolist(), strict=True):
        assert float(f"{result:.11e}") == result
        assert abs(result - value) <= abs(value) * 5.000001e-12 + 5e-324
    assert significant(rounded).tolist() == rounded.tolist()


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=200), st.data())
def test_rounding_one_number_is_rounding_it_among_others(values: list[float], data: st.DataObject) -> None:
    row = data.draw(st.integers(0, len(values) - 1))
    assert significant(np.array(values))[row] == significant(np.array(values[row : row + 1]))[0]
