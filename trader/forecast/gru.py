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

    def run(self, sequence: Array) -> Array:
        """Return the state after every step, from a zero state: (steps, inputs, windows) to (steps, width, windows)."""
        width, windows = self.width, sequence.shape[2]
        given = np.matmul(self.inputs, sequence)
        given += self.input_bias[:, None]
        state_bias = self.state_bias[:, None]
        states = np.empty((len(sequence), width, windows))
        state = np.zeros((width, windows))
        for step in range(len(sequence)):
            kept = self.state @ state
            kept += state_bias
            gates = _logistic(given[step, : 2 * width] + kept[: 2 * width])
            reset, update = gates[:width], gates[width:]
            fresh = 2.0 * _logistic(2.0 * (given[step, 2 * width :] + reset * kept[2 * width :])) - 1.0
            state = fresh + update * (state - fresh)
            states[step] = state
        return states


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
        windows = np.lib.stride_tricks.sliding_window_view(scaled, self.window)[:count] if count else np.empty((0, 1))
        up = np.concatenate([self._up(windows[start : start + _BLOCK]) for start in range(0, max(count, 1), _BLOCK)])
        forecast = significant(2.0 * up - 1.0, 6)
        return candles.select("symbol", "close_time")[candles.height - count :].with_columns(
            pl.Series("forecast", forecast), pl.Series("confidence", significant(0.5 + np.abs(forecast) / 2, 6))
        )

    def _up(self, windows: Array) -> Array:
        """Return the probability of up after each of at most a block of scaled windows, (windows, steps)."""
        states = np.zeros((self.window, 1, _BLOCK))
        states[:, 0, : len(windows)] = windows.T
        for layer in self.layers:
            states = layer.run(states)
        scores = self.head @ states[-1] + self.head_bias[:, None]
        return _logistic(scores[1] - scores[0])[: len(windows)]


def _logistic(values: Array) -> Array:
    with np.errstate(over="ignore"):  # what overflows to infinity is a probability of nothing
        return np.asarray(1.0 / (1.0 + np.exp(-values)))
