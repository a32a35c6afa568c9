"""Fit, describe, check, import and export models in folders."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from trader.app import places
from trader.app.judging import costs_of, trial_store
from trader.app.stored import candles_of, funding_of
from trader.app.strategies import read_model
from trader.config import Settings
from trader.domain.interval import Interval
from trader.errors import ConfigError
from trader.execution.fills import Costs
from trader.forecast.artifact import Model, dump, load
from trader.forecast.card import Construction
from trader.forecast.linear import LinearForecaster
from trader.research.evidence.earnings import per_side
from trader.research.evidence.judge import judge, judged
from trader.research.evidence.trials import trial_of
from trader.research.losses import check_loss
from trader.research.recurrent import Recipe
from trader.research.train import export_pth, import_pth, train_ar
from trader.research.train_recurrent import train_recurrent

_SYMBOL = re.compile(r"\w{1,40}")
_LARGEST_LAG = 1000
_RANGE = re.compile(r"^(\d+)(?:-(\d+))?$")


def parse_lags(text: str) -> tuple[int, ...]:
    """Read lags such as `1,3` or `1-4`.

    Raises:
        ConfigError: a lag is no whole number from 1, or named twice.
    """
    lags: list[int] = []
    for part in text.split(","):
        match = _RANGE.match(part.strip())
        if match is None:
            raise ConfigError(f"{text!r} names no lags; write them like 1,3 or 1-4.")
        if int(match[2] or match[1]) > _LARGEST_LAG:
            raise ConfigError(f"{text!r} names a lag above {_LARGEST_LAG}; name fewer.")
        lags += range(int(match[1]), int(match[2] or match[1]) + 1)
    if not lags or min(lags) < 1 or len(set(lags)) != len(lags):
        raise ConfigError(f"{text!r} names a lag twice, or none from 1 on; write them like 1,3 or 1-4.")
    return tuple(lags)


@dataclass(frozen=True, slots=True)
class TrainingChoice:
    """What to fit to which candles, in the words of the command line."""

    candles: Path | None
    interval: str
    lags: str
    loss: str
    test_size: float
    symbol: str | None
    until: datetime | None
    funding: Path | None


def train_to_folder(
    settings: Settings, choice: TrainingChoice, out: Path, step: Callable[[], object]
) -> dict[str, Any]:
    """Fit a model to a file or to the store, record the fit, judge it where candles are left, and write its folder."""
    if choice.symbol is not None:
        _check_symbol(choice.symbol)
    check_loss(choice.loss)
    if not 0 <= choice.test_size < 1:
        raise ConfigError(
            f"A test size of {choice.test_size} leaves nothing to fit; give a fraction from 0 to below 1."
        )
    interval, lags = Interval.parse(choice.interval), parse_lags(choice.lags)
    candles = candles_of(settings, choice.candles, choice.symbol, interval)
    if choice.until is not None:
        candles = candles.filter(pl.col("close_time") <= choice.until)
    funding = funding_of(settings, choice.funding, choice.candles, choice.symbol)
    model = train_ar(candles, interval, lags, choice.loss, choice.test_size, name=_name(out), created=_now())
    return _kept(settings, model, candles, funding, out, step)


def recipe_of(costs: Costs, **choices: Any) -> Recipe:
    """Return how to train a recurrent model that pays what trading costs.

    Raises:
        ConfigError: something of it cannot be.
    """
    return Recipe(cost=per_side(costs), **choices)


def train_recurrent_to_folder(
    settings: Settings,
    choice: TrainingChoice,
    recipe: Recipe,
    split: datetime | None,
    out: Path,
    learning: Callable[[], object],
    weighing: Callable[[], object],
) -> dict[str, Any]:
    """Train a recurrent model on candles as `train_to_folder` does, and add every pass to what is told of it."""
    if choice.symbol is not None:
        _check_symbol(choice.symbol)
    interval = Interval.parse(choice.interval)
    candles = candles_of(settings, choice.candles, choice.symbol, interval)
    if choice.until is not None:
        candles = candles.filter(pl.col("close_time") <= choice.until)
    funding = funding_of(settings, choice.funding, choice.candles, choice.symbol)
    found = train_recurrent(
        candles, interval, recipe, choice.test_size, name=_name(out), created=_now(), split=split, step=learning
    )
    epochs = [
        {"epoch": one.number, "train_loss": one.train_loss, "validation_loss": one.validation_loss}
        for one in found.training.epochs
    ]
    return _kept(settings, found.model, candles, funding, out, weighing) | {"epochs": epochs}


def _kept(
    settings: Settings,
    model: Model,
    candles: pl.DataFrame,
    funding: pl.DataFrame | None,
    out: Path,
    step: Callable[[], object],
) -> dict[str, Any]:
    """Record the fit, judge the model where candles are left, and write its folder."""
    fit = trial_of(model.card, "train")
    if fit is not None:
        store = trial_store(settings)
        store.record([fit])
        if fit.closes:
            trials = store.of(fit.symbol)
            found = judge(model, candles, costs_of(settings), funding=funding, trials=trials, step=step)
            model = judged(model, found)
    _write(model, out)
    return _summary(model, out)


def _check_symbol(symbol: str) -> None:
    if not _SYMBOL.fullmatch(symbol):
        raise ConfigError(f"{symbol!r} is no symbol of the exchange; write it like ADAUSDT.")


def describe(folder: Path) -> dict[str, Any]:
    """Return a model's card."""
    card: dict[str, Any] = json.loads(_load(folder).card.to_bytes())
    return card


def verify(folder: Path) -> dict[str, Any]:
    """Load a model as the daemon would and say what was checked."""
    model = _load(folder)
    return {
        "model": model.name,
        "hash": model.hash,
        "golden_rows": len(model.card.golden),
        "verdict": model.verdict,
        "reason": model.reason,
        "expired": model.expired(_now()),
        "verified": True,
    }


def import_weights(weights: Path, out: Path, *, symbol: str, interval: str, lags: str) -> dict[str, Any]:
    """Give a foreign state_dict a card and write its folder."""
    _check_symbol(symbol)
    model = import_pth(
        weights,
        lags=parse_lags(lags),
        symbol=symbol,
        interval=Interval.parse(interval),
        name=_name(out),
        created=_now(),
    )
    _write(model, out)
    return _summary(model, out)


def export_weights(folder: Path, out: Path) -> dict[str, Any]:
    """Write a model's weights as a torch state_dict."""
    model = _load(folder)
    try:
        export_pth(model, out)
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror}; choose another --out.") from error
    return {"model": model.name, "out": str(out)}


def _load(folder: Path) -> Model:
    card, weights = read_model(places.model_path(str(folder), Path.cwd()))
    loaded = load(card, weights)
    # the daemon knows one way to build candles; a model that was built in another is refused there and said here
    return load(card, weights, construction=Construction.of(loaded.card.interval))


def _write(model: Model, folder: Path) -> None:
    card, weights = dump(model)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "weights.safetensors").write_bytes(weights)
        (folder / "card.json").write_bytes(card)
    except OSError as error:
        raise ConfigError(f"The model folder {folder} cannot be written: {error.strerror}; choose another.") from error


def _summary(model: Model, folder: Path) -> dict[str, Any]:
    card = model.card
    return {
        "model": card.name,
        "out": str(folder),
        "symbol": card.symbol,
        "interval": str(card.interval),
        **_shape(model),
        "loss": card.loss,
        "method": card.method,
        "metrics": card.metrics,
        "trials": card.trials,
        "gates": {name: gate.model_dump(mode="json") for name, gate in card.gates.items()},
        "verdict": card.verdict,
        "reason": card.reason,
        "hash": model.hash,
    }


def _shape(model: Model) -> dict[str, Any]:
    """Return what a forecaster is made of, as far as a person can read it."""
    if isinstance(model.forecaster, LinearForecaster):
        return {
            "lags": list(model.card.lags),
            "weights": list(model.forecaster.weights),
            "bias": model.forecaster.bias,
        }
    network = model.card.network
    return {"network": None if network is None else network.model_dump(mode="json")}


def _name(folder: Path) -> str:
    return folder.resolve().name


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
