"""Fit autoregressive models, give them their cards, and exchange weights with torch."""

import hashlib
import pickle
import struct
import warnings
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trader import __version__
from trader.domain.interval import Interval
from trader.errors import DataError, ModelError
from trader.forecast.artifact import Model, golden_rows
from trader.forecast.card import Calibration, Card, Construction, Training
from trader.forecast.features import significant
from trader.forecast.linear import LinearForecaster
from trader.forecast.weights import encode, tensors_of
from trader.market.candles import spacing
from trader.market.resample import resample
from trader.research.calibration import odds_slope, reliability, right_signs
from trader.research.dataset import Rows, chronological_split, data_hash, supervised
from trader.research.losses import fit_one
from trader.research.metrics import signal_metrics

# What torch's reader raises on bytes that are no state_dict, found by spoiling good ones.
_UNREADABLE = (
    pickle.UnpicklingError,
    struct.error,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
LIFE = timedelta(days=365)
UNJUDGED = "Nobody has judged it on candles that no fit has seen."
_GOLDEN_WINDOWS = 5


def library_versions() -> dict[str, str]:
    """Return the versions of what a fit and a forecast are computed with."""
    return {"trader": __version__, **{name: version(name) for name in ("numpy", "polars", "safetensors")}}


def train_ar(
    candles: pl.DataFrame,
    interval: Interval,
    lags: tuple[int, ...],
    loss: str = "l1",
    test_size: float = 0.25,
    *,
    name: str,
    created: datetime,
    until: datetime | None = None,
    split: datetime | None = None,
    pool: int | None = None,
    expires: datetime | None = None,
    versions: Mapping[str, str] | None = None,
) -> Model:
    """Fit a model to one symbol's candles, chronologically: the first rows train, the last test.

    Args:
        candles: a candle frame whose interval divides `interval`.
        interval: the candle length of the model.
        lags: lags of the log return in the order of the weights.
        loss: one of `losses.LOSSES`.
        test_size: the fraction of rows, at the end, that the fit does not see.
        name: what the model is called.
        created: when, for the card.
        until: candles that close later are not looked at.
        split: train on every row that closes at or before it and test on the rest, instead of `test_size`.
        pool: drop as many first rows as this lag needs, to compare models of several lags on the same rows.
        expires: when it is too old; a year after the last candle, unless given.
        versions: library versions for the card; the installed ones, unless given.

    Raises:
        ConfigError: there is no such loss.
        DataError: the candles cannot be used, or are too few.
    """
    history = history_of(candles, interval, until)
    rows = supervised(history, lags, pool)
    count = chronological_split(len(rows.target), test_size) if split is None else rows.until(split)
    forecaster, method = _fitted(rows.features[:count], rows.target[:count], lags, loss)
    seen = history.filter(pl.col("close_time") <= rows.close_times[count - 1])
    return _model(
        forecaster,
        name=name,
        symbol=str(history["symbol"][0]),
        interval=interval,
        construction=Construction.of(interval, spacing(candles)),
        loss=loss,
        method=method,
        training=training_of(seen, count),
        metrics=_scores(forecaster, rows, count, interval),
        calibration=_calibration(forecaster, history, rows, count),
        windows=_windows(seen["close"].to_list(), forecaster.warmup),
        created=created,
        expires=expires or history["close_time"][-1] + LIFE,
        reason=UNJUDGED,
        versions=versions,
    )


def import_pth(
    path: Path,
    *,
    lags: tuple[int, ...],
    symbol: str,
    interval: Interval,
    name: str,
    created: datetime,
    candles: pl.DataFrame | None = None,
    expires: datetime | None = None,
    versions: Mapping[str, str] | None = None,
) -> Model:
    """Read a foreign torch state_dict (weights only; nothing in it is executed) and give it a card.

    It holds linear.weight (1, lags), in the order of `lags`, and linear.bias (1,). Its training is unknown. From
    `candles` (any that divide `interval`) come the deviation behind confidence and metrics of the period `seen`;
    without them confidence is 0.

    Raises:
        ModelError: torch is not installed, or the file is no such state_dict.
        DataError: the candles cannot be used, or are of another symbol.
    """
    weights, bias = _read_state(path, len(lags))
    forecaster = LinearForecaster(lags, weights, bias, None)
    metrics: dict[str, dict[str, int | float | None]] = {}
    if candles is not None:
        history = history_of(candles, interval, None)
        if history["symbol"][0] != symbol:
            raise DataError(
                f"The candles are of {history['symbol'][0]} and the model of {symbol}; give its own candles."
            )
        rows = supervised(history, lags)
        deviation = float((rows.target - bias - rows.features @ np.array(weights)).std(ddof=1))
        forecaster = _calibrated(lags, weights, bias, deviation, rows.features, rows.target)
        metrics = {"seen": _score(forecaster, rows, slice(None), interval)}
    return _model(
        forecaster,
        name=name,
        symbol=symbol,
        interval=interval,
        construction=Construction.of(interval),
        loss="unknown",
        method=f"imported from {path.name}",
        training=None,
        metrics=metrics,
        calibration=None,
        windows=_windows([], forecaster.warmup),
        created=created,
        expires=expires or created + LIFE,
        reason="Imported weights whose training nobody here has seen.",
        versions=versions,
    )


def export_pth(model: Model, path: Path) -> None:
    """Write a model's weights as a torch state_dict, in float64 and by the names of `forecast.weights`.

    Raises:
        ModelError: torch is not installed.
    """
    torch = _torch()
    tensors = tensors_of(model.forecaster)
    if model.card.kind == "ar":
        tensors = {name: tensor for name, tensor in tensors.items() if name.startswith("linear.")}
    state = {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}
    buffer = BytesIO()
    torch.save(state, buffer)
    path.write_bytes(buffer.getvalue())


def training_of(seen: pl.DataFrame, rows: int) -> Training:
    """Say what a fit has seen."""
    closes = seen["close_time"]
    return Training(first_close=closes[0], last_close=closes[-1], rows=rows, data_hash=data_hash(seen))


def _fitted(
    features: NDArray[np.float64], target: NDArray[np.float64], lags: tuple[int, ...], loss: str
) -> tuple[LinearForecaster, str]:
    fit, method = fit_one(features, target, loss)
    # Rounded so that a fit on another processor, whose sums end in other bits, gives the same file.
    numbers = significant(np.array([*fit.weights, fit.bias]))
    weights, bias = numbers[:-1], float(numbers[-1])
    deviation = (target - bias - features @ weights).std(ddof=1)
    if not deviation > 0:
        raise DataError("The fit leaves no residual, so that nothing measures confidence; give candles that move.")
    return _calibrated(lags, tuple(weights.tolist()), bias, float(deviation), features, target), method


def _calibrated(
    lags: tuple[int, ...],
    weights: tuple[float, ...],
    bias: float,
    deviation: float,
    features: NDArray[np.float64],
    target: NDArray[np.float64],
) -> LinearForecaster:
    forecast = bias + features @ np.array(weights)
    deviation = float(significant(np.array([deviation]))[0])
    slope = odds_slope(np.abs(forecast) / deviation, right_signs(forecast, target))
    return LinearForecaster(lags, weights, bias, deviation, slope)


def _calibration(forecaster: LinearForecaster, candles: pl.DataFrame, rows: Rows, start: int) -> Calibration:
    """Judge the confidence of a forecaster on the rows from `start` on, as it says it at their closes."""
    said = forecaster.forecast(candles)["confidence"].to_numpy()[:-1][-len(rows.target) :][start:]
    forecast = forecaster.bias + rows.features[start:] @ np.array(forecaster.weights)
    return reliability(said, right_signs(forecast, rows.target[start:]))


def history_of(candles: pl.DataFrame, interval: Interval, until: datetime | None) -> pl.DataFrame:
    """Return whole candles of the interval that close at or before `until`."""
    known = candles if until is None else candles.filter(pl.col("close_time") <= until)
    history = resample(known, spacing(candles), interval)
    if history.is_empty():
        raise DataError(f"The candles make not one whole {interval} candle; give a longer history.")
    return history


def _scores(
    forecaster: LinearForecaster, rows: Rows, count: int, interval: Interval
) -> dict[str, dict[str, int | float | None]]:
    periods = {"train": slice(0, count), "test": slice(count, None)}
    return {period: _score(forecaster, rows, part, interval) for period, part in periods.items()}


def _score(forecaster: LinearForecaster, rows: Rows, part: slice, interval: Interval) -> dict[str, int | float | None]:
    target = rows.target[part]
    if not len(target):
        return {"n": 0}
    forecast = forecaster.bias + rows.features[part] @ np.array(forecaster.weights)
    losses = {"l1": float(np.abs(target - forecast).mean()), "mse": float(((target - forecast) ** 2).mean())}
    always = {
        "always_long_sharpe": signal_metrics(np.ones(len(target)), target, interval)["sharpe"],
        "always_short_sharpe": signal_metrics(-np.ones(len(target)), target, interval)["sharpe"],
    }
    found = signal_metrics(forecast, target, interval) | losses | always
    return {key: rounded(value) for key, value in found.items()}


def rounded(value: float | None) -> int | float | None:
    """Return ten digits: what follows them depends on the processor that added."""
    return value if value is None or isinstance(value, int) else float(significant(np.array([value]), 10)[0])


def _windows(closes: list[float], warmup: int) -> list[list[float]]:
    """Choose what a model is checked by: windows spread over what it has seen, and one that is nobody's."""
    last = len(closes) - warmup
    starts = sorted({last * part // (_GOLDEN_WINDOWS - 1) for part in range(_GOLDEN_WINDOWS)}) if last >= 0 else []
    invented = [100.0 + 3.0 * ((row * row) % 7) for row in range(warmup)]
    return [*(closes[start : start + warmup] for start in starts), invented]


def _model(
    forecaster: LinearForecaster,
    *,
    windows: list[list[float]],
    reason: str,
    versions: Mapping[str, str] | None,
    **fields: Any,
) -> Model:
    card = Card(
        lags=forecaster.lags,
        weights_hash=hashlib.sha256(encode(forecaster)).hexdigest(),
        golden=golden_rows(forecaster, windows),
        gates={},
        verdict="UNJUDGED",
        reason=reason,
        trials=1,
        versions=dict(versions or library_versions()),
        **fields,
    )
    return Model(card, forecaster)


def _read_state(path: Path, lags: int) -> tuple[tuple[float, ...], float]:
    torch = _torch()
    try:
        with warnings.catch_warnings(action="ignore"):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise ModelError(
            f"{path} cannot be read as plain weights ({type(error).__name__}); give a state_dict of linear.weight and "
            "linear.bias, written by torch.save."
        ) from error
    shapes: dict[str, tuple[int, ...]] = {}
    if isinstance(state, Mapping):
        shapes = {str(key): tuple(value.shape) for key, value in state.items() if isinstance(value, torch.Tensor)}
    expected = {"linear.weight": (1, lags), "linear.bias": (1,)}
    if not isinstance(state, Mapping) or len(state) != len(expected) or shapes != expected:
        raise ModelError(
            f"{path} holds {shapes} where {lags} lags need {expected}; give the lags of its weights in order."
        )
    return _floats(state["linear.weight"][0]), _floats(state["linear.bias"])[0]


def _floats(tensor: Any) -> tuple[float, ...]:
    values: Iterable[float] = tensor.double().tolist()
    return tuple(values)


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ModelError(
            "Reading and writing .pth files needs torch, which is not installed; run `make setup`, or use safetensors."
        ) from error
    return torch
