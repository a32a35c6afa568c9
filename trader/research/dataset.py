"""From files to rows that a fit can read."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trader.errors import DataError
from trader.forecast.features import lagged, log_returns
from trader.market.candles import parse_bars, parse_candles
from trader.market.funding import parse_funding


@dataclass(frozen=True, slots=True)
class Rows:
    """One row a candle: what was known at the close before it, and what it returned.

    `close_times` are the closes of the candles to be forecast (UTC), `features` (rows, lags) in the order of the lags,
    `target` the log returns.
    """

    close_times: list[datetime]
    features: NDArray[np.float64]
    target: NDArray[np.float64]

    def until(self, moment: datetime) -> int:
        """Count rows whose candle closes at or before `moment`."""
        return sum(close <= moment for close in self.close_times)


def read_candles(path: Path, symbol: str | None = None) -> pl.DataFrame:
    """Read a candle file into a validated candle frame.

    Raises:
        DataError: the file cannot be read, or its candles cannot be used.
    """
    try:
        return parse_candles(_read(path), path.name, symbol)
    except DataError as error:
        # what is wrong with one candle does not say which file it came from
        if path.name in str(error):
            raise
        raise DataError(f"{path.name}: {error}") from error


def read_bars(path: Path) -> pl.DataFrame:
    """Read the candles of many symbols, whatever is wrong with any of them.

    Raises:
        DataError: the file cannot be read as candles at all.
    """
    return parse_bars(_read(path), path.name)


def read_funding(path: Path, symbol: str | None = None) -> pl.DataFrame:
    """Read a funding file.

    Raises:
        DataError: the file cannot be read, or its rates cannot be used.
    """
    return parse_funding(_read(path), path.name, symbol)


def supervised(candles: pl.DataFrame, lags: Sequence[int], pool: int | None = None) -> Rows:
    """Pair each candle's log return with the lagged returns known at the close before it.

    Rows without full history are dropped; `pool` drops as many as that lag would need, so that models of different lags
    are compared on the same rows.

    Raises:
        DataError: the candles are of several symbols.
    """
    if candles["symbol"].n_unique() > 1:
        raise DataError("A model is fitted to one symbol, but the candles hold several; name the symbol.")
    history = max([*lags, pool or 0])
    known = [feature.shift(1).over("symbol") for feature in lagged(lags)]
    rows = candles.select("close_time", log_returns().alias("target"), *known)[history + 1 :]
    features = rows.select(f"lag_{lag}" for lag in lags)
    return Rows(rows["close_time"].to_list(), np.ascontiguousarray(features.to_numpy()), rows["target"].to_numpy())


def chronological_split(rows: int, test_size: float) -> int:
    """Return how many of the first rows train; the last `test_size` of them (a fraction) test.

    Raises:
        DataError: the fraction leaves nothing to train on, or is none.
    """
    if not 0 <= test_size < 1:
        raise DataError(f"A test size of {test_size} is no fraction from 0 to below 1; give one like 0.25.")
    return int(rows * (1 - test_size) + 1e-9)


def data_hash(candles: pl.DataFrame) -> str:
    """Hash close times (int64 milliseconds) and closes (float64), both little-endian: what a fit has seen."""
    times = candles["close_time"].dt.timestamp("ms").to_numpy().astype("<i8")
    return hashlib.sha256(times.tobytes() + candles["close"].to_numpy().astype("<f8").tobytes()).hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"The file {path} cannot be read: {error.strerror}; check its path and rights.") from error
