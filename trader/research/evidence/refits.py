"""Walk a recurrent model forward: train it again along the history, as its card says it was trained."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from trader.research.evidence.earnings import Candles, held
from trader.research.evidence.folds import WalkForward, after_costs
from trader.research.recurrent import Recipe, train_gru
from trader.research.train_recurrent import stopping
from trader.research.walkforward import Windows

FOLDS = 6  # a training takes half a minute, and there are as many
_TRAINED = 0.4  # of the history, or a year where that is less


@dataclass(frozen=True, slots=True)
class Walks:
    """One walk, held in two ways: all of the exposure in the likelier direction, or as much as was forecast."""

    direction: WalkForward
    proportional: WalkForward


def walk_recurrent(
    recipe: Recipe, history: pl.DataFrame, candles: Candles, cost: float, step: Callable[[], object] | None = None
) -> Walks:
    """Train again `FOLDS` times, each on the candles before a fold alone; a history too short for that has no folds.

    Args:
        recipe: how the model was trained.
        history: whole candles of its interval.
        candles: what those candles returned, beginning with the second.
        cost: paid on each unit of notional traded.
        step: called once a pass over training rows.
    """
    train = min(round(candles.interval.per_year), int(history.height * _TRAINED))
    test = (history.height - train) // FOLDS
    if test < 1 or not _enough(train, recipe):
        nothing = WalkForward(train, test, ())
        return Walks(nothing, nothing)
    forecasts = []
    for _, tested in Windows(train, test, test).folds(history.height)[:FOLDS]:
        seen = history[tested.start - train : tested.start]
        found = train_gru(seen["close"].to_numpy(), stopping(train), recipe, step)
        tried = history[tested.start - found.forecaster.warmup : tested.stop - 1]
        forecasts.append(found.forecaster.forecast(tried)["forecast"].to_numpy())
    # the first candle of a history has no return, so that candle `train` is in row `train - 1`
    after = candles.part(slice(train - 1, train - 1 + FOLDS * test))
    said = np.concatenate(forecasts)
    return Walks(after_costs(held(said), after, cost, train, test), after_costs(said, after, cost, train, test))


def _enough(train: int, recipe: Recipe) -> bool:
    """Whether the rows of a fold make a window to train on, and one to stop by."""
    return stopping(train) > recipe.window + 1 and train - 1 - stopping(train) > recipe.window + 1
