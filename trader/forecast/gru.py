"""The gated recurrent forecaster: which way the next candle closes, from exactly the last changes of the close.

The cell is that of Cho et al. (2014) as torch.nn.GRU computes it. A forecast is a pass from a zero state over exactly
its window, so that it depends on nothing before. Windows always pass in blocks of one size, the last filled up with
zeros: a matrix product of another shape may add in another order, and a forecast has to be the same number whether it
is made alone or with ten thousand others.
"""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trader.errors import ModelError
from trader.forecast.features import significant

Array = NDArray[np.float64]

_BLOCK = 128  # windows a pass; a multiple of every vector's length, so that no element takes numpy's scalar path
_ALONE = 200_000  # multiplications that a matrix product makes without waking other threads, which cost more here


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer's weights, in torch's order of the gates (reset, update, new), each `width` rows.

    `inputs` (3 * width, inputs), `state` (3 * width, width), `input_bias` and `state_bias` (3 * width,).
    """

    inputs: Array
    state: Array
    input_bias: Array
    state_bias: Array

    @property
    def width(self) -> int:
        """How many numbers the state has."""
        return int(self.state.shape[1])

    def joined(self) -> Array:
        """Return all weights as one matrix (4 * width, inputs + width + 1) over inputs, state and a row of ones.

        Its rows are reset and update, negated as the logistic function takes them, and what the new state takes from
        the inputs and from the state.
        """
        width, inputs = self.width, self.inputs.shape[1]
        gates = slice(0, 2 * width)
        joined = np.zeros((4 * width, inputs + width + 1))
        joined[gates, :inputs] = -self.inputs[gates]
        joined[gates, inputs:-1] = -self.state[gates]
        joined[gates, -1] = -(self.input_bias[gates] + self.state_bias[gates])
        joined[2 * width : 3 * width, :inputs] = self.inputs[2 * width :]
        joined[2 * width : 3 * width, -1] = self.input_bias[2 * width :]
        joined[3 * width :, inputs:-1] = self.state[2 * width :]
        joined[3 * width :, -1] = self.state_bias[2 * width :]
        return joined


class _Pass:
    """One layer on its way along a block of windows; every array is made once, because a step costs less than one."""

    def __init__(self, layer: Layer) -> None:
        width, inputs = layer.width, layer.inputs.shape[1]
        weights = layer.joined()
        self._known = np.zeros((inputs + width + 1, _BLOCK))
        self._known[-1] = 1.0
        self.inputs = self._known[:inputs]
        self.state = self._known[inputs:-1]
        self._found = np.empty((4 * width, _BLOCK))
        rows = max(1, _ALONE // self._known.size)
        parts = [slice(first, first + rows) for first in range(0, 4 * width, rows)]
        self._products = [(weights[part], self._found[part]) for part in parts]
        self._gates = self._found[: 2 * width]
        self._reset, self._update = self._found[:width], self._found[width : 2 * width]
        self._fresh, self._kept = self._found[2 * width : 3 * width], self._found[3 * width :]

    def step(self) -> None:
        """Take the inputs into the state."""
        for weights, found in self._products:
            np.matmul(weights, self._known, out=found)
        np.exp(self._gates, out=self._gates)
        np.add(self._gates, 1.0, out=self._gates)
        np.reciprocal(self._gates, out=self._gates)
        np.multiply(self._reset, self._kept, out=self._kept)
        np.add(self._fresh, self._kept, out=self._fresh)
        np.tanh(self._fresh, out=self._fresh)
        np.subtract(self.state, self._fresh, out=self.state)
        np.multiply(self._update, self.state, out=self.state)
        np.add(self._fresh, self.state, out=self.state)


@dataclass(frozen=True, slots=True, eq=False)
class GruForecaster:
    """Forecast the direction of the next candle as the probability of up minus that of down.

    A window is the last `window` simple returns of the close, each less `mean` and over `deviation` (of the training
    rows). `head` (2, width) and `head_bias` (2,) make two scores of the last state, down first.

    Raises:
        ModelError: shapes do not fit each other, or a number is not finite.
    """

    window: int
    mean: float
    deviation: float
    layers: tuple[Layer, ...]
    head: Array
    head_bias: Array

    def __post_init__(self) -> None:
        inputs = 1
        for number, layer in enumerate(self.layers):
            width = layer.width
            shapes = (layer.inputs.shape, layer.state.shape, layer.input_bias.shape, layer.state_bias.shape)
            if shapes != ((3 * width, inputs), (3 * width, width), (3 * width,), (3 * width,)):
                raise ModelError(f"Layer {number + 1} has weights of the shapes {shapes}; train the model again.")
            inputs = width
        if not self.layers or self.head.shape != (2, inputs) or self.head_bias.shape != (2,) or self.window < 1:
            raise ModelError(
                f"A head of {self.head.shape} over {len(self.layers)} layers and a window of {self.window} makes no "
                "forecast; train the model again."
            )
        numbers = [self.head, self.head_bias, np.array([self.mean, self.deviation])]
        for layer in self.layers:
            numbers += [layer.inputs, layer.state, layer.input_bias, layer.state_bias]
        if not all(np.isfinite(part).all() for part in numbers) or not self.deviation > 0:
            raise ModelError("A weight or the scale is NaN, infinite or nothing; train the model again.")

    @property
    def warmup(self) -> int:
        """Return how many closed candles the first forecast needs."""
        return self.window + 1

    def without_bias(self) -> "GruForecaster":
        """Return the same network whose two scores start even."""
        return replace(self, head_bias=np.zeros(2))

    def forecast(self, candles: pl.DataFrame) -> pl.DataFrame:
        """Forecast at every close whose history is complete: [symbol, close_time, forecast, confidence].

        `candles` is a validated candle frame of one symbol without gaps. `forecast` is the probability that the candle
        after the close ends higher, less that of the opposite, from -1 to 1; `confidence` is the greater of the two.
        Both are rounded to 6 significant digits.

        Raises:
            ModelError: the candles are of several symbols.
        """
        if candles["symbol"].n_unique() > 1:
            raise ModelError("A recurrent model forecasts one symbol, but the candles hold several; name the symbol.")
        changes = (candles["close"] / candles["close"].shift(1)).to_numpy()[1:] - 1.0
        scaled = (changes - self.mean) / self.deviation
        count = max(0, len(scaled) - self.window + 1)
        up = np.empty(count)
        windows = np.lib.stride_tricks.sliding_window_view(scaled, self.window) if count else scaled
        for start in range(0, count, _BLOCK):
            up[start : start + _BLOCK] = self._up(windows[start : start + _BLOCK])
        forecast = significant(2.0 * up - 1.0, 6)
        return candles.select("symbol", "close_time")[candles.height - count :].with_columns(
            pl.Series("forecast", forecast), pl.Series("confidence", significant(0.5 + np.abs(forecast) / 2, 6))
        )

    def _up(self, windows: Array) -> Array:
        """Return the probability of up after each of at most a block of scaled windows, (windows, steps)."""
        steps = np.zeros((self.window, _BLOCK))
        steps[:, : len(windows)] = windows.T
        layers = [_Pass(layer) for layer in self.layers]
        with np.errstate(over="ignore"):  # what overflows to infinity is a gate that is shut
            for changes in steps:
                below: Array = changes
                for layer in layers:
                    layer.inputs[:] = below
                    layer.step()
                    below = layer.state
            scores = self.head @ layers[-1].state + self.head_bias[:, None]
            return np.asarray(1.0 / (1.0 + np.exp(scores[0] - scores[1])))[: len(windows)]
