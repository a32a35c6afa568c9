"""Fit, describe, check, import and export models in folders."""

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from trader.app import places
from trader.app.judging import trial_store
from trader.app.stored import candles_of, funding_of
from trader.app.strategies import costs_of, read_model
from trader.config import Settings
from trader.domain.interval import Interval
from trader.errors import ConfigError
from trader.execution.fills import Costs
from trader.forecast.artifact import CARD_FILE, WEIGHTS_FILE, Model, dump, load
from trader.forecast.card import Card, Construction
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
    """Which candles to fit to, in the words of the command line."""

    candles: Path | None
    interval: str
    test_size: float
    symbol: str | None
    until: datetime | None
    funding: Path | None

    def history(self, settings: Settings) -> tuple[Interval, pl.DataFrame]:
        """Return the interval, and the candles of the file or of the store that close up to `until`.

        Raises:
            ConfigError: the choice cannot be.
            DataError: the candles cannot be used.
        """
        if self.symbol is not None:
            _check_symbol(self.symbol)
        if not 0 <= self.test_size < 1:
            raise ConfigError(
                f"A test size of {self.test_size} leaves nothing to fit; give a fraction from 0 to below 1."
            )
        interval = Interval.parse(self.interval)
        candles = candles_of(settings, self.candles, self.symbol, interval)
        return interval, candles if self.until is None else candles.filter(pl.col("close_time") <= self.until)

    def paid(self, settings: Settings) -> pl.DataFrame | None:
        """Return the funding of the file, or of the store where the candles are."""
        return funding_of(settings, self.funding, self.candles, self.symbol)


@dataclass(frozen=True, slots=True)
class Steps:
    """Who is told how far it has come: at a pass of the training, at one of its walk, and while it is weighed."""

    learning: Callable[[], object]
    walking: Callable[[], object]
    weighing: Callable[[], object]


def train_to_folder(
    settings: Settings, choice: TrainingChoice, lags: str, loss: str, out: Path, step: Callable[[], object]
) -> dict[str, Any]:
    """Fit a model to a file or to the store, record the fit, judge it where candles are left, and write its folder."""
    check_loss(loss)
    _require_folder(out)
    chosen = parse_lags(lags)
    interval, candles = choice.history(settings)
    model = train_ar(candles, interval, chosen, loss, choice.test_size, name=_name(out), created=now())
    return _kept(settings, model, candles, choice.paid(settings), out, step)


def recipe_for(costs: Costs, **choices: Any) -> Recipe:
    """Return how to train a recurrent model that pays what trading costs.

    Raises:
        ConfigError: something of it cannot be.
    """
    return Recipe(cost=per_side(costs), **choices)


def train_recurrent_to_folder(
    settings: Settings, choice: TrainingChoice, recipe: Recipe, split: datetime | None, out: Path, steps: Steps
) -> dict[str, Any]:
    """Train a recurrent model on candles as `train_to_folder` does, and add every pass to what is told of it."""
    _require_folder(out)
    interval, candles = choice.history(settings)
    model = train_recurrent(
        candles, interval, recipe, choice.test_size, name=_name(out), created=now(), split=split, step=steps.learning
    )
    told = _kept(settings, model, candles, choice.paid(settings), out, steps.weighing, steps.walking)
    return told | {"epochs": epochs_of(model.card)}


def epochs_of(card: Card) -> list[dict[str, float | int]]:
    """Return every pass of a training and the losses it left; none for a linear model."""
    passes = () if card.learning is None else card.learning.passes
    return [{"epoch": number, **one.model_dump()} for number, one in enumerate(passes, start=1)]


def _kept(
    settings: Settings,
    model: Model,
    candles: pl.DataFrame,
    funding: pl.DataFrame | None,
    out: Path,
    step: Callable[[], object],
    walking: Callable[[], object] | None = None,
) -> dict[str, Any]:
    """Record the fit, judge the model where candles are left, and write its folder."""
    fit = trial_of(model.card, "train")
    if fit is not None:
        store = trial_store(settings)
        store.record([fit])
        if fit.closes:
            trials = store.of(fit.symbol)
            found = judge(
                model, candles, costs_of(settings), funding=funding, trials=trials, step=step, walking=walking
            )
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
        "expired": model.expired(now()),
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
        created=now(),
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


def _require_folder(folder: Path) -> None:
    """Refuse a folder that no model can be written to, before anything is fitted and counted.

    Raises:
        ConfigError: it, or what it would be made in, is no folder or may not be written.
    """
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        why = "may not be written" if there.is_dir() else "is no folder"
        raise ConfigError(f"The model folder {folder} cannot be written: {there} {why}; choose another.")


def _write(model: Model, folder: Path) -> None:
    card, weights = dump(model)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # both are whole before either takes the place of an earlier model's
        fresh = [(folder / name, folder / f"{name}.new") for name in (WEIGHTS_FILE, CARD_FILE)]
        for (_, new), content in zip(fresh, (weights, card), strict=True):
            new.write_bytes(content)
        for kept, new in fresh:
            new.replace(kept)
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


def now() -> datetime:
    """Return this second, as cards write it."""
    return datetime.now(UTC).replace(microsecond=0)
