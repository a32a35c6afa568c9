"""A forecaster's numbers as safetensors, and back; shapes are checked against the card before anything is believed."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from trader.errors import ModelError
from trader.forecast.card import Card, Network
from trader.forecast.gru import GruForecaster, Layer
from trader.forecast.linear import LinearForecaster

Tensors = dict[str, NDArray[Any]]

_KNOWN = ("residual_deviation", "odds_slope")  # what a linear forecaster has where it is known
_LAYER = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")  # torch's names, in the order of `Layer`


def encode(forecaster: LinearForecaster | GruForecaster) -> bytes:
    """Write weights as safetensors in float64; the same forecaster gives the same bytes.

    Linear: linear.weight (1, lags), linear.bias (1,), and where they are known residual_deviation and odds_slope (1,).
    Recurrent: torch's names of a GRU's weights, head.weight (2, width), head.bias (2,) and scale (2,), the mean and
    the deviation of the changes it was trained on.
    """
    return bytes(save_tensors(tensors_of(forecaster)))


def tensors_of(forecaster: LinearForecaster | GruForecaster) -> Tensors:
    """Return the numbers of a forecaster by the names they are kept under."""
    tensors = _linear(forecaster) if isinstance(forecaster, LinearForecaster) else _recurrent(forecaster)
    return {name: np.ascontiguousarray(tensor, dtype=np.float64) for name, tensor in tensors.items()}


def decode(data: bytes, card: Card) -> LinearForecaster | GruForecaster:
    """Read the weights that a card was written for.

    Raises:
        ModelError: it is no safetensors file, or holds other tensors than a model of the card's kind and shape.
    """
    try:
        tensors = load_tensors(data)
    except SafetensorError as error:
        raise ModelError(f"The weights of {card.name} are no safetensors file; train the model again.") from error
    return _to_linear(tensors, card) if card.network is None else _to_recurrent(tensors, card, card.network)


def _linear(forecaster: LinearForecaster) -> Tensors:
    tensors: Tensors = {
        "linear.weight": np.array([forecaster.weights], dtype=np.float64),
        "linear.bias": np.array([forecaster.bias], dtype=np.float64),
    }
    for name in _KNOWN:
        number = getattr(forecaster, name)
        if number is not None:
            tensors[name] = np.array([number], dtype=np.float64)
    return tensors


def _recurrent(forecaster: GruForecaster) -> Tensors:
    tensors: Tensors = {
        "head.weight": forecaster.head,
        "head.bias": forecaster.head_bias,
        "scale": np.array([forecaster.mean, forecaster.deviation]),
    }
    for number, layer in enumerate(forecaster.layers):
        parts = (layer.inputs, layer.state, layer.input_bias, layer.state_bias)
        tensors |= {f"{name}_l{number}": part for name, part in zip(_LAYER, parts, strict=True)}
    return tensors


def _to_linear(tensors: Tensors, card: Card) -> LinearForecaster:
    expected = {
        "linear.weight": (1, len(card.lags)),
        "linear.bias": (1,),
        **{name: (1,) for name in _KNOWN if name in tensors},
    }
    _check(tensors, expected, card, f"{len(card.lags)} lags")
    return LinearForecaster(
        lags=card.lags,
        weights=tuple(tensors["linear.weight"][0].tolist()),
        bias=float(tensors["linear.bias"][0]),
        **{name: float(tensors[name][0]) if name in tensors else None for name in _KNOWN},
    )


def _to_recurrent(tensors: Tensors, card: Card, network: Network) -> GruForecaster:
    width, layers = network.width, network.layers
    expected: dict[str, tuple[int, ...]] = {"head.weight": (2, width), "head.bias": (2,), "scale": (2,)}
    for number in range(layers):
        shapes = ((3 * width, width if number else 1), (3 * width, width), (3 * width,), (3 * width,))
        expected |= {f"{name}_l{number}": shape for name, shape in zip(_LAYER, shapes, strict=True)}
    _check(tensors, expected, card, f"{layers} layers of {width}")
    mean, deviation = tensors["scale"].tolist()
    return GruForecaster(
        window=network.window,
        mean=mean,
        deviation=deviation,
        layers=tuple(Layer(*(tensors[f"{name}_l{number}"] for name in _LAYER)) for number in range(layers)),
        head=tensors["head.weight"],
        head_bias=tensors["head.bias"],
    )


def _check(tensors: Tensors, expected: dict[str, tuple[int, ...]], card: Card, what: str) -> None:
    shapes = {name: (str(tensor.dtype), tensor.shape) for name, tensor in tensors.items()}
    needed = {name: ("float64", shape) for name, shape in expected.items()}
    if shapes != needed:
        raise ModelError(
            f"The weights of {card.name} have the shapes {shapes} where {what} need {needed}; train the model again."
        )
