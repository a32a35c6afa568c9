"""Judge models in folders: by the files at hand, and by every fit that was ever recorded here."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from trader.app import places
from trader.app.stored import candles_of, funding_of
from trader.app.strategies import read_model
from trader.config import Settings
from trader.execution.fills import Costs
from trader.forecast.artifact import load
from trader.research.evidence.judge import judge
from trader.research.evidence.trials import TrialStore


def evidence(
    settings: Settings,
    folder: Path,
    candles: Path | None,
    *,
    funding: Path | None,
    since: datetime | None,
    step: Callable[[], object],
) -> dict[str, Any]:
    """Judge a model by a candle file, or without one by the store, and return everything its verdict rests on.

    Raises:
        ConfigError: there is no such model, or the store of trials cannot be read.
        DataError: candles or funding do not fit the model, or no close is unseen.
        ModelError: the model is refused, or nobody knows what it was trained on.
    """
    card, weights = read_model(places.model_path(str(folder), Path.cwd()))
    model = load(card, weights)
    symbol = model.card.symbol
    found = judge(
        model,
        candles_of(settings, candles, symbol, model.card.interval),
        costs_of(settings),
        funding=funding_of(settings, funding, candles, symbol),
        trials=trial_store(settings).of(symbol),
        since=since,
        step=step,
    )
    about = {"model": model.name, "hash": model.hash, "symbol": symbol, "lags": list(model.card.lags)}
    return {**about, "candle": str(model.card.interval), "loss": model.card.loss, **found.document()}


def costs_of(settings: Settings) -> Costs:
    """Return what trading costs by the settings."""
    return Costs(settings.sim.fee, settings.sim.slippage, settings.sim.spread)


def trial_store(settings: Settings) -> TrialStore:
    """Return where fits are counted."""
    return TrialStore(settings.data_dir / "store")
