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
from trader.forecast.card import Card, Construction, Network
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


@dataclass(frozen=True, slots=True)
class Recurrent:
    """A trained model, and every pass it took."""

    model: Model
    training: Training


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
) -> Recurrent:
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
        ModelError: torch is not installed.
    """
    history = history_of(candles, interval, until)
    if history["symbol"].n_unique() > 1:
        raise DataError("A model is fitted to one symbol, but the candles hold several; name the symbol.")
    seen = (
        history.filter(pl.col("close_time") <= split)
        if split is not None
        else history.head(chronological_split(history.height, test_size))
    )
    stopping = int(seen.height * _STOPPED_BY)
    found = train_gru(seen["close"].to_numpy(), stopping, recipe, step)
    card = Card(
        name=name,
        interval=interval,
        construction=Construction.of(interval, spacing(candles)),
        created=created,
        **_findings(found, history, seen, stopping, recipe, interval),
    )
    return Recurrent(Model(card, found.forecaster), found)


def _findings(
    found: Training, history: pl.DataFrame, seen: pl.DataFrame, stopping: int, recipe: Recipe, interval: Interval
) -> dict[str, Any]:
    """Say in a card's words what was trained, and what it came to in each period."""
    forecaster = found.forecaster
    periods = {
        "train": slice(0, seen.height - stopping),
        "validation": slice(seen.height - stopping, seen.height),
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
        "loss": recipe.loss,
        "method": _method(found, recipe),
        "training": training_of(seen, seen.height - stopping),
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
        """Measure the direction and both policies; cross entropies in nats, `base_rate` that of the share of ups."""
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
            "discrete_net_sharpe": self._net_sharpe(sign),
            "proportional_sharpe": self._sharpe(held * self.returns),
            "proportional_net_sharpe": self._net_sharpe(held),
        }
        return {name: rounded(value) for name, value in found.items()}

    def _net_sharpe(self, held: Array) -> float | None:
        return self._sharpe(held * self.returns - self.cost * np.abs(np.diff(held, prepend=0.0)))

    def _sharpe(self, earned: Array) -> float | None:
        deviation = float(earned.std(ddof=1)) if len(earned) > 1 else 0.0
        return float(earned.mean()) / deviation * float(np.sqrt(self.interval.per_year)) if deviation else None


def _entropy(share: float) -> float:
    return -sum(part * float(np.log(part)) for part in (share, 1 - share) if part > 0)


def _method(found: Training, recipe: Recipe) -> str:
    last = found.epochs[-1]
    best = found.epochs[found.best - 1]
    return (
        f"Adam at {recipe.rate:g}, pass {found.best} of {last.number} by the validation loss "
        f"{best.validation_loss:.6g} (training {best.train_loss:.6g})"
    )
