"""Judge a model with the candles it was trained on and those that came after."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from trader.errors import DataError, ModelError
from trader.execution.fills import Costs
from trader.forecast.artifact import Model
from trader.forecast.card import Construction, Training
from trader.forecast.linear import LinearForecaster
from trader.market.candles import spacing
from trader.market.funding import require_funding
from trader.market.resample import resample
from trader.research.dataset import data_hash, supervised
from trader.research.evidence.causality import Forecaster, examine
from trader.research.evidence.earnings import Array, Candles, held, per_side
from trader.research.evidence.folds import WalkForward, walk_after_costs
from trader.research.evidence.refits import Walks, walk_recurrent
from trader.research.evidence.sharpe import sharpe
from trader.research.evidence.trials import Trial, sharpes, trial_of
from trader.research.evidence.weigh import REPLICATIONS, Case, Evidence, weigh
from trader.research.losses import REFITTED, fit_one
from trader.research.train_recurrent import recipe_of
from trader.research.walkforward import Windows

SAMPLES = 100
STEPS = REPLICATIONS + SAMPLES
RECURRENT_STEPS = STEPS + REPLICATIONS

_Configuration = tuple[tuple[int, ...], str]  # lags and loss of a fit


@dataclass(frozen=True, slots=True)
class _Rivals:
    """The other fits a model was chosen from: their sides on the unseen candles, and which Sharpe ratios are known."""

    configurations: tuple[_Configuration, ...]
    sides: Array
    known: Array


def judge(
    model: Model,
    candles: pl.DataFrame,
    costs: Costs,
    *,
    funding: pl.DataFrame | None = None,
    trials: Sequence[Trial] = (),
    since: datetime | None = None,
    step: Callable[[], object] | None = None,
    walking: Callable[[], object] | None = None,
) -> Evidence:
    """Weigh what a model earned on the candles that close after its training.

    Args:
        model: the model, with the card of its training.
        candles: a candle frame that holds the model's symbol, in an interval from which its candles are built.
        costs: what trading costs.
        funding: as `market.funding` reads it; it must reach over the unseen closes.
        trials: every fit recorded for the symbol.
        since: only closes after it are unseen; needed where the training of a model is unknown.
        step: called `STEPS` times at most, for a recurrent model `RECURRENT_STEPS`.
        walking: called once a pass of the trainings that walk a recurrent model forward.

    Raises:
        DataError: candles or funding do not fit the model, or no close is unseen.
        ModelError: the candles are built in another way than those of its training, or its training is unknown.
    """
    card = model.card
    history = _history(model, candles)
    boundary = _boundary(model, since)
    if funding is not None:
        require_funding(funding, card.symbol, max(boundary, history["close_time"][0]), history["close_time"][-1])
    everything = Candles.of(history, card.interval, funding)
    sides, no_bias = (_sides(one, history) for one in (model.forecaster, model.forecaster.without_bias()))
    first = _first_unseen(model, everything, sides, boundary)
    seen = _seen(history, card.training)
    same = card.training is None or seen is None or data_hash(seen) == card.training.data_hash
    rivals = _rivals(model, history, seen if same else None, trials, first)
    walks = _walks(model, history, everything, per_side(costs), walking)
    case = Case(
        unseen=everything.part(slice(first, None)),
        sides=held(sides[first:]),
        no_bias=held(no_bias[first:]),
        rivals=rivals.sides,
        trials=count(model, trials),
        known=rivals.known,
        walk=walks.direction if isinstance(walks, Walks) else walks,
        causality=examine(model.forecaster, history, boundary, SAMPLES, step),
        costs=costs,
        same_candles=same,
    )
    found = weigh(case, step=step)
    more: dict[str, Any] = {
        "fits": [{"lags": list(lags), "loss": loss} for lags, loss in rivals.configurations],
        "training_candles": "absent" if seen is None else "same" if same else "other",
    }
    if isinstance(walks, Walks):
        more["proportional"] = _proportional(case, sides[first:], no_bias[first:], walks, step)
    return replace(found, numbers={**found.numbers, **more})


def _proportional(
    case: Case, sides: Array, no_bias: Array, walks: Walks, step: Callable[[], object] | None
) -> dict[str, Any]:
    """Weigh a share of the exposure instead of all of it: another way to trade, with a verdict of its own."""
    return weigh(replace(case, sides=sides, no_bias=no_bias, walk=walks.proportional), step=step).beside()


def judged(model: Model, evidence: Evidence) -> Model:
    """Write the evidence into the model's card."""
    update: dict[str, Any] = {
        "gates": dict(evidence.gates),
        "verdict": evidence.verdict,
        "reason": evidence.reason,
        "trials": evidence.trials,
        "evidence": dict(evidence.numbers),
    }
    return replace(model, card=model.card.model_copy(update=update))


def count(model: Model, trials: Sequence[Trial]) -> int:
    """Count the fits a model was chosen from: those its card knew of, and those recorded here.

    Where its own fit is among the recorded ones the card counted these; where it was made elsewhere both are added.
    """
    own = trial_of(model.card, "judge")
    here = own is not None and own.key in {trial.key for trial in trials}
    return max(model.card.trials, len(trials)) if here else model.card.trials + len(trials)


def _history(model: Model, candles: pl.DataFrame) -> pl.DataFrame:
    card = model.card
    ours = candles.filter(pl.col("symbol") == card.symbol)
    if ours.is_empty():
        held_here = ", ".join(candles["symbol"].unique().sort().to_list())
        raise DataError(f"The candles are of {held_here} and the model of {card.symbol}; give its own candles.")
    source = spacing(ours)
    history = resample(ours, source, card.interval)
    if history.height <= model.forecaster.warmup:
        raise DataError(
            f"{history.height} whole {card.interval} candles are too few for {card.name}, which needs "
            f"{model.forecaster.warmup} before its first forecast and one after it; give a longer history."
        )
    if Construction.of(card.interval, source) != card.construction:
        raise ModelError(
            f"The model {card.name} was trained on candles made of whole {card.construction.source} bars, which "
            f"{source} candles cannot make; give candles whose interval divides {card.construction.source}."
        )
    return history


def _boundary(model: Model, since: datetime | None) -> datetime:
    training = model.card.training
    if training is not None:
        return training.last_close if since is None else max(training.last_close, since)
    if since is not None:
        return since
    raise ModelError(
        f"Nobody knows what {model.name} was trained on, so that no close is surely unseen; say with --from after "
        "which close nothing of it was used."
    )


def _sides(forecaster: Forecaster, history: pl.DataFrame) -> Array:
    """Return the forecast of each candle but the first, made at the close before it; NaN where there was none."""
    said = forecaster.forecast(history)
    beside = history.select("symbol", "close_time").join(said, on=["symbol", "close_time"], how="left")
    return np.asarray(beside["forecast"].to_numpy()[:-1], dtype=np.float64)


def _first_unseen(model: Model, candles: Candles, sides: Array, boundary: datetime) -> int:
    """Return the first candle after the boundary that was forecast."""
    first = max(sum(close <= boundary for close in candles.close_times), int(np.isnan(sides).sum()))
    if first >= len(sides):
        raise DataError(
            f"No close of the candles (the last is {candles.close_times[-1]:%Y-%m-%dT%H:%MZ}) is unseen by "
            f"{model.name}, whose unseen closes begin after {boundary:%Y-%m-%dT%H:%MZ}; give candles that reach "
            "further."
        )
    return first


def _seen(history: pl.DataFrame, training: Training | None) -> pl.DataFrame | None:
    """Return the candles of its training; None where the history does not reach over them."""
    if training is None or history["close_time"][0] > training.first_close:
        return None
    return history.filter(pl.col("close_time").is_between(training.first_close, training.last_close))


def _rivals(
    model: Model, history: pl.DataFrame, seen: pl.DataFrame | None, trials: Sequence[Trial], first: int
) -> _Rivals:
    """Make again, on the training of this model, every fit that was recorded here or in its card."""
    card = model.card
    recorded = {_configuration(t.lags, t.loss) for t in trials if t.interval == card.interval and t.kind == card.kind}
    noticed: Any = (card.evidence or {}).get("fits", [])
    noted = {_configuration(fit["lags"], fit["loss"]) for fit in noticed}
    own = _configuration(card.lags, card.loss)
    wanted = sorted(one for one in recorded | noted | {own} if one[1] in REFITTED)
    if seen is None or card.training is None:
        return _Rivals((), np.empty((history.height - 1 - first, 0)), sharpes(trials, card.interval))
    sides, known = [], list(sharpes(trials, card.interval))
    returns = Candles.of(history, card.interval, None).returns[first:]
    for lags, loss in wanted:
        side = held(_sides(_refitted(seen, lags, loss, card.training.rows), history)[first:])
        if (lags, loss) not in recorded:
            ratio = sharpe(side * returns)
            known += [] if ratio is None else [ratio]
        if (lags, loss) != own:
            sides.append(side)
    rivals = np.column_stack(sides) if sides else np.empty((len(returns), 0))
    return _Rivals(tuple(wanted), rivals, np.array(known, dtype=np.float64))


def _refitted(seen: pl.DataFrame, lags: tuple[int, ...], loss: str, rows: int) -> LinearForecaster:
    pairs = supervised(seen, lags)
    fit, _ = fit_one(pairs.features[-rows:], pairs.target[-rows:], loss)
    return LinearForecaster(lags, fit.weights, fit.bias, None)


def _configuration(lags: Sequence[int], loss: str) -> _Configuration:
    return tuple(sorted(lags)), loss


def _walks(
    model: Model, history: pl.DataFrame, everything: Candles, cost: float, walking: Callable[[], object] | None
) -> Walks | WalkForward | None:
    """Walk a model forward; a recurrent one both ways it can be held, one that nobody can fit again not at all."""
    card = model.card
    recipe = recipe_of(card)
    if recipe is not None:
        return walk_recurrent(recipe, history, everything, cost, walking)
    if card.loss not in REFITTED:
        return None
    rows = supervised(history, card.lags)
    # a row needs as many candles before it as its furthest lag
    candles = everything.part(slice(max(card.lags), None))
    return walk_after_costs(rows, candles, card.loss, cost, Windows.year_and_quarter(card.interval))
