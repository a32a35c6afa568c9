from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.forecast_frames import frame_of
from trader.errors import ModelError
from trader.forecast.gru import GruForecaster, Layer

torch = pytest.importorskip("torch", reason="torch is the oracle here")

WINDOW = 20


def networks(layers: int, width: int, seed: int) -> tuple["torch.nn.GRU", "torch.nn.Linear", GruForecaster]:
    """Return torch's own layers in float64, and the forecaster of the same weights."""
    torch.manual_seed(seed)
    cell = torch.nn.GRU(1, width, layers).double()
    head = torch.nn.Linear(width, 2).double()
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ours = tuple(
        Layer(*(getattr(cell, f"{name}_l{number}").detach().numpy() for name in names)) for number in range(layers)
    )
    forecaster = GruForecaster(WINDOW, 0.0001, 0.003, ours, head.weight.detach().numpy(), head.bias.detach().numpy())
    return cell, head, forecaster


def walk(rows: int, seed: int) -> list[float]:
    return (100 * np.exp(np.random.default_rng(seed).normal(0, 0.003, rows).cumsum())).tolist()


@pytest.mark.parametrize(("layers", "width"), [(1, 8), (3, 16), (2, 5)])
def test_a_forecast_is_what_torch_computes_of_the_last_window(layers: int, width: int) -> None:
    cell, head, forecaster = networks(layers, width, seed=layers)
    closes = walk(WINDOW + 40, seed=width)
    said = forecaster.forecast(frame_of(closes))
    assert said.height == 40
    for row in (0, 17, 39):
        window = np.array(closes[row : row + WINDOW + 1])
        inputs = torch.from_numpy((window[1:] / window[:-1] - 1 - 0.0001) / 0.003)[:, None, None]
        with torch.no_grad():
            down, up = torch.softmax(head(cell(inputs)[0][-1, 0]), 0).tolist()
        assert said["forecast"][row] == pytest.approx(up - down, rel=1e-5, abs=1e-9)
        assert said["confidence"][row] == pytest.approx(max(up, down), rel=1e-5)


@settings(max_examples=15, deadline=None)
@given(rows=st.integers(WINDOW + 1, WINDOW + 300), seed=st.integers(0, 2**32 - 1), cut=st.floats(0, 1))
def test_the_window_alone_and_any_longer_history_say_the_same_to_the_last_bit(rows: int, seed: int, cut: float) -> None:
    _, _, forecaster = networks(2, 8, seed % 1000)
    candles = frame_of(walk(rows, seed))
    whole = forecaster.forecast(candles)
    last = WINDOW + 1 + int(cut * (rows - WINDOW - 1))
    alone = forecaster.forecast(candles[last - forecaster.warmup : last])
    assert alone.height == 1
    assert alone.row(0) == whole.row(last - WINDOW - 1)
    assert forecaster.forecast(candles[:last]).equals(whole[: last - WINDOW])


def test_fewer_candles_than_the_warm_up_give_no_forecast() -> None:
    _, _, forecaster = networks(1, 4, 0)
    assert forecaster.forecast(frame_of(walk(WINDOW, 1))).is_empty()
    assert forecaster.forecast(frame_of(walk(WINDOW + 1, 1))).height == 1


def test_without_bias_even_scores_give_a_coin_toss() -> None:
    _, _, forecaster = networks(1, 4, 0)
    even = replace(forecaster, head=np.zeros((2, 4)), head_bias=np.array([-0.5, 1.0]))
    frame = frame_of(walk(WINDOW + 3, 2))
    assert even.forecast(frame)["forecast"].to_list() == pytest.approx([np.tanh(0.75)] * 3, rel=1e-5)
    assert even.without_bias().forecast(frame)["forecast"].to_list() == [0.0] * 3
    assert even.without_bias().forecast(frame)["confidence"].to_list() == [0.5] * 3


def test_scores_far_apart_are_certain_and_not_broken() -> None:
    _, _, forecaster = networks(1, 4, 0)
    sure = replace(forecaster, head=np.zeros((2, 4)), head_bias=np.array([1e6, -1e6]))
    said = sure.forecast(frame_of(walk(WINDOW + 1, 2)))
    assert said["forecast"].to_list() == [-1.0]
    assert said["confidence"].to_list() == [1.0]


def test_candles_of_two_symbols_are_refused() -> None:
    _, _, forecaster = networks(1, 4, 0)
    both = pl.concat([frame_of(walk(30, 1), "A"), frame_of(walk(30, 2), "B")])
    with pytest.raises(ModelError, match="name the symbol"):
        forecaster.forecast(both)


@pytest.mark.parametrize("field", ["head", "head_bias", "mean", "deviation", "window"])
def test_a_forecaster_whose_parts_do_not_fit_is_refused(field: str) -> None:
    _, _, forecaster = networks(1, 4, 0)
    wrong = {
        "head": np.zeros((2, 5)),
        "head_bias": np.array([0.0, np.nan]),
        "mean": np.inf,
        "deviation": 0.0,
        "window": 0,
    }
    with pytest.raises(ModelError, match="train the model again"):
        replace(forecaster, **{field: wrong[field]})


def test_a_layer_of_another_shape_is_refused() -> None:
    _, _, forecaster = networks(2, 4, 0)
    with pytest.raises(ModelError, match="Layer 2"):
        replace(forecaster, layers=(forecaster.layers[0], forecaster.layers[0]))
