"""The autoregressive forecaster: a weighted sum of the latest log returns."""

import math
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trader.errors import ModelError
from trader.forecast.features import lagged, significant


@dataclass(frozen=True, slots=True)
class LinearForecaster:
    """Forecast the next candle's log return as bias + sum of weight * return, lag by lag.

    `weights` are in the order of `lags`; lag 1 is the return that ends at the close the forecast is made at.
    `residual_deviation` is the standard deviation of what the fit left unexplained, and `odds_slope` the log odds of a
    right sign that a forecast of that size has; None where nobody knows them.

    Raises:
        ModelError: lags and weights do not match, or a number is not finite.
    """

    lags: tuple[int, ...]
    weights: tuple[float, ...]
    bias: float
    residual_deviation: float | None
    odds_slope: float | None = None

    def __post_init__(self) -> None:
        if not self.lags or len(set(self.lags)) != len(self.lags) or min(self.lags) < 1:
            raise ModelError(
                f"The lags {list(self.lags)} are not distinct whole numbers from 1; train the model again."
            )
        if len(self.weights) != len(self.lags):
            raise ModelError(f"{len(self.weights)} weights do not fit {len(self.lags)} lags; train the model again.")
        if not all(math.isfinite(number) for number in (*self.weights, self.bias)):
            raise ModelError("A weight or the bias is NaN or infinite; train the model again.")
        deviation = self.residual_deviation
        if deviation is not None and not (math.isfinite(deviation) and deviation > 0):
            raise ModelError(f"A residual deviation of {deviation} is no measure of confidence; train the model again.")
        slope = self.odds_slope
        if slope is not None and not (math.isfinite(slope) and slope >= 0 and deviation is not None):
            raise ModelError(f"An odds slope of {slope} calibrates no confidence; train the model again.")

    @property
    def warmup(self) -> int:
        """Return how many closed candles the first forecast needs."""
        return max(self.lags) + 1

    def without_bias(self) -> "LinearForecaster":
        """Return the same weights with a bias of nothing."""
        return replace(self, bias=0.0)

    def forecast(self, candles: pl.DataFrame) -> pl.DataFrame:
        """Forecast at every close whose history is complete: [symbol, close_time, forecast, confidence].

        `candles` is a validated candle frame without gaps. `forecast` is the log return of the candle that follows the
        close; `confidence` is the calibrated probability that its sign is right, from 0.5 to 1, and 0 where nobody
        knows it. Both are rounded to 12 significant digits. A row depends on the `warmup` candles up to its close and
        on nothing else, bit for bit.

        Raises:
            ModelError: a forecast is not finite.
        """
        known = candles.select("symbol", "close_time", *lagged(self.lags)).drop_nulls()
        # Sums of whole columns in lag order: a matrix product adds in an order that depends on the number of rows.
        total = np.zeros(known.height)
        with np.errstate(over="ignore", invalid="ignore"):
            for lag, weight in zip(self.lags, self.weights, strict=True):
                total += weight * known[f"lag_{lag}"].to_numpy()
            forecast = significant(total + self.bias)
        if not np.isfinite(forecast).all():
            row = int(np.argmin(np.isfinite(forecast)))
            close = known["close_time"][row]
            raise ModelError(
                f"The forecast at {close:%Y-%m-%dT%H:%M:%SZ} is not finite; look at the candles before it."
            )
        confidence = self._confidence(forecast)
        return known.select(
            "symbol", "close_time", pl.Series("forecast", forecast), pl.Series("confidence", confidence)
        )

    def _confidence(self, forecast: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.residual_deviation is None or self.odds_slope is None:
            return np.zeros(len(forecast))
        odds = self.odds_slope * (np.abs(forecast) / self.residual_deviation)
        # polars' exponential, for the reason `features` gives
        return significant(1.0 / (1.0 + pl.Series("odds", -odds).exp().to_numpy()))
