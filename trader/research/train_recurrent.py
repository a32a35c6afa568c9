"""From candles to a recurrent model with its card: train, stop, and measure on what no fit has seen."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from trader.domain.interval import Interval
from trader.errors import DataError
from trader.forecast.artifact import Model, golden_rows
from trader.forecast.card import Card, Construction, Learning, Network, Pass
from trader.forecast.features import significant
from trader.forecast.gru import Array, GruForecaster
from trader.forecast.weights import encode
from trader.market.candles import spacing
from trader.research.calibration import reliability, right_signs
from trader.research.dataset import chronological_split
from trader.research.metrics import signal_metrics
from trader.research.recurrent import Recipe, Training, train_gru
from trader.research.train import LIFE, UNJUDGED, history_of, library_versions, rounded, training_of

_RULE = "the greater of the two probabilities the network gives"
_STOPPED_BY = 0.15  # of the rows before the split


def stopping(rows: int) -> int:
    """Return how many of the last rows before the split say when to stop."""
    return int(rows * _STOPPED_BY)


def recipe_of(card: Card) -> Recipe | None:
    """Return how a recurrent model was trained, as its card says; None for a linear one."""
    network, learning = card.network, card.learning
    if network is None or learning is None:
        return None
    return Recipe(
        window=network.window,
        layers=network.layers,
        width=network.width,
        epochs=learning.epochs,
        patience=learning.patience,
        objective=learning.objective,
        cost=learning.cost,
        rate=learning.rate,
        batch=learning.batch,
        overlapping=learning.overlapping,
        seed=learning.seed,
    )


def train_recurrent(
    candles: pl.DataFrame,
    interval: Interval,
    recipe: Recipe,
    test_size: float = 0.25,
    *,
    name: str,
    created: datetime,
    split: datetime | None = None,
    until: datetime | None = None,
    step: Callable[[], object] | None = None,
) -> Model:
    """Train on the candles before the split, of which the last 15 % say when to stop, and measure on those after it.

    Args:
        candles: a candle frame of one symbol whose interval divides `interval`.
        interval: the candle length of the model.
        recipe: how to train.
        test_size: the fraction of candles, at the end, that nothing of the training sees.
        name: what the model is called.
        created: when, for the card.
        split: the last close that training may see, instead of `test_size`.
        until: candles that close later are not looked at.
        step: called once an epoch.

    Raises:
        DataError: the candles cannot be used, or are too few.
    """
    history = history_of(candles, interval, until)
    if history["symbol"].n_unique() > 1:
        raise DataError("A model is fitted to one symbol, but the candles hold several; name the symbol.")
    seen = (
        history.filter(pl.col("close_time") <= split)
        if split is not None
        else history.head(chronological_split(history.height, test_size))
    )
    later = stopping(seen.height)
    found = train_gru(seen["close"].to_numpy(), later, recipe, step)
    card = Card(
        name=name,
        interval=interval,
        construction=Construction.of(interval, spacing(candles)),
        created=created,
        **_findings(found, history, seen, later, recipe, interval),
    )
    return Model(card, found.forecaster)


def _findings(
    found: Training, history: pl.DataFrame, seen: pl.DataFrame, later: int, recipe: Recipe, interval: Interval
) -> dict[str, Any]:
    """Say in a card's words what was trained, and what it came to in each period."""
    forecaster = found.forecaster
    periods = {
        "train": slice(0, seen.height - later),
        "validation": slice(seen.height - later, seen.height),
        "test": slice(seen.height, None),
    }
    measured = _Measured.of(forecaster, history, interval, recipe.cost)
    test = measured.part(periods["test"])
    calibration = reliability(test.confidence, right_signs(test.forecast, test.returns))
    return {
        "kind": "gru",
        "symbol": str(history["symbol"][0]),
        "lags": (),
        "network": Network(window=recipe.window, layers=recipe.layers, width=recipe.width),
        "learning": _learning(found, recipe),
        "loss": recipe.loss,
        "method": _method(found, recipe),
        "training": training_of(seen, seen.height - later),
        "metrics": {period: measured.part(part).metrics() for period, part in periods.items()},
        "calibration": calibration.model_copy(update={"rule": _RULE}),
        "versions": library_versions(),
        "weights_hash": hashlib.sha256(encode(forecaster)).hexdigest(),
        "golden": golden_rows(forecaster, [seen["close"].tail(forecaster.warmup).to_list()]),
        "gates": {},
        "verdict": "UNJUDGED",
        "reason": UNJUDGED,
        "trials": 1,
        "expires": history["close_time"][-1] + LIFE,
    }


@dataclass(frozen=True, slots=True)
class _Measured:
    """Forecasts beside the log return of the candle that followed, (rows,) each; NaN where there was no forecast."""

    forecast: Array
    confidence: Array
    returns: Array
    interval: Interval
    cost: float

    @classmethod
    def of(cls, forecaster: GruForecaster, history: pl.DataFrame, interval: Interval, cost: float) -> "_Measured":
        said = forecaster.forecast(history)
        lead = np.full(history.height - said.height, np.nan)
        closes = history["close"].to_numpy()
        following = np.append(np.log(closes[1:] / closes[:-1]), np.nan)
        return cls(
            np.concatenate([lead, said["forecast"].to_numpy()]),
            np.concatenate([lead, said["confidence"].to_numpy()]),
            following,
            interval,
            cost,
        )

    def part(self, rows: slice) -> "_Measured":
        forecast, confidence, returns = self.forecast[rows], self.confidence[rows], self.returns[rows]
        known = np.isfinite(forecast) & np.isfinite(returns)
        return _Measured(forecast[known], confidence[known], returns[known], self.interval, self.cost)

    def metrics(self) -> dict[str, int | float | None]:
        """Measure the direction and both policies, `discrete` and `proportional`.

        Cross entropies are in nats, `base_rate` is that of the share of ups; `net_ev` is a candle's log return after
        costs.
        """
        rows = len(self.returns)
        if not rows:
            return {"n": 0}
        up = self.returns > 0
        chance = np.clip((1 + np.where(up, self.forecast, -self.forecast)) / 2, 1e-12, None)
        share = float(up.mean())
        sign, held = np.sign(self.forecast), self.forecast
        found = signal_metrics(sign, self.returns, self.interval) | {
            "up": int(up.sum()),
            "down": int((self.returns < 0).sum()),
            "cross_entropy": float(-np.log(chance).mean()),
            "base_rate_cross_entropy": _entropy(share),
            "proportional_sharpe": self._sharpe(held * self.returns),
        }
        for policy, sides in (("discrete", sign), ("proportional", held)):
            net = sides * self.returns - self.cost * np.abs(np.diff(sides, prepend=0.0))
            found |= {f"{policy}_net_ev": float(net.mean()), f"{policy}_net_sharpe": self._sharpe(net)}
        return {name: rounded(value) for name, value in found.items()}

    def _sharpe(self, earned: Array) -> float | None:
        deviation = float(earned.std(ddof=1)) if len(earned) > 1 else 0.0
        return float(earned.mean()) / deviation * float(np.sqrt(self.interval.per_year)) if deviation else None


def _entropy(share: float) -> float:
    return -sum(part * float(np.log(part)) for part in (share, 1 - share) if part > 0)


def _learning(found: Training, recipe: Recipe) -> Learning:
    passes = [(significant(np.array([one.train_loss, one.validation_loss]), 7)).tolist() for one in found.epochs]
    return Learning(
        objective=recipe.objective,
        epochs=recipe.epochs,
        patience=recipe.patience,
        rate=recipe.rate,
        batch=recipe.batch,
        cost=recipe.cost,
        overlapping=recipe.overlapping,
        seed=recipe.seed,
        best=found.best,
        passes=tuple(Pass(train_loss=train, validation_loss=validation) for train, validation in passes),
    )


def _method(found: Training, recipe: Recipe) -> str:
    last = found.epochs[-1]
    best = found.epochs[found.best - 1]
    return (
        f"Adam at {recipe.rate:g}, pass {found.best} of {last.number} by the validation loss "
        f"{best.validation_loss:.6g} (training {best.train_loss:.6g})"
    )
