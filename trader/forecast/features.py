"""What forecasters read from candles, computed so that no number depends on how many rows are computed with it.

`log` is polars' own, which takes one element at a time; numpy's differs in the last bit between its vector and its
scalar path.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

# The powers of ten that float64 holds exactly: scaling and unscaling by them round once each.
_POWERS = 10.0 ** np.arange(23)
_LEAST_EXPONENT = -40
_DECADES = np.array([float(f"1e{exponent}") for exponent in range(_LEAST_EXPONENT, 40)])


def log_returns() -> pl.Expr:
    """Return close over the close before it, as a logarithm; null for a symbol's first candle."""
    close = pl.col("close")
    return (close / close.shift(1)).log().over("symbol")


def lagged(lags: Sequence[int]) -> list[pl.Expr]:
    """Return the columns lag_<k> of a candle frame in the order of `lags`, most recent first.

    Beside a close stands what a forecast of the candle after it may read: lag_1 is the return that ends at that close.
    """
    return [log_returns().shift(lag - 1).over("symbol").alias(f"lag_{lag}") for lag in lags]


def significant(values: NDArray[np.float64], digits: int = 12) -> NDArray[np.float64]:
    """Round each number to so many significant decimal digits, to the float64 nearest to that decimal.

    Each element is rounded by exact scaling, one by one, in the same way whatever stands beside it.
    """
    rounded = np.array(values, dtype=np.float64)
    exponents = np.searchsorted(_DECADES, np.abs(rounded), side="right") - 1 + _LEAST_EXPONENT
    places = digits - 1 - exponents
    scaled = np.isfinite(rounded) & (places >= 0) & (places < len(_POWERS))
    power = _POWERS[places[scaled]]
    rounded[scaled] = np.rint(rounded[scaled] * power) / power
    for index in np.flatnonzero(~scaled & np.isfinite(rounded) & (rounded != 0)):
        rounded[index] = float(f"{rounded[index]:.{digits - 1}e}")
    return rounded
