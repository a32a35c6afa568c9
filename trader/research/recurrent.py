"""Train the recurrent forecaster: windows without overlap, every step a lesson, and a stop before it learns by heart.

The rows before the split are cut in two: the earlier train, the later part says when to stop (`validation`). What comes
after the split is seen by no fit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trader.errors import ConfigError, DataError
from trader.forecast.gru import GruForecaster, Layer
from trader.research.network import PARTS, Network, drawn

Array = NDArray[np.float64]
Objective = Literal["cross-entropy", "profit"]

OBJECTIVES: tuple[Objective, ...] = ("cross-entropy", "profit")
_MORE_OVERLAPPING = 8  # times as many sequences a step, of which each has one lesson only


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train.

    `window` steps a sequence and a forecast; `layers` of `width` numbers; at most `epochs`, ended after `patience` of
    them without a better validation loss, and the best one is kept. `objective` is cross entropy of the direction, or
    the profit of holding the probability of up less that of down, less `cost` a unit of notional traded. `overlapping`
    trains on a window a row and its last step alone, as the research did: some hundred times the work an epoch. A step
    of learning reads `batch` sequences.
    """

    window: int = 512
    layers: int = 3
    width: int = 16
    epochs: int = 60
    patience: int = 12
    objective: Objective = "cross-entropy"
    cost: float = 0.0005
    rate: float = 1e-3
    batch: int = 8
    overlapping: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        counts = (self.window, self.layers, self.width, self.epochs, self.patience, self.batch)
        if min(counts) < 1 or not 0 < self.rate < 1:
            raise ConfigError(
                "Window, layers, width, epochs, patience and batch are whole numbers from 1 and the rate is between 0 "
                "and 1; correct the one that is not."
            )
        if self.objective not in OBJECTIVES:
            raise ConfigError(f"There is no objective {self.objective!r}; use {' or '.join(OBJECTIVES)}.")

    @property
    def loss(self) -> str:
        """What the fit minimised, by which network, from which windows and where chance began."""
        way = "overlapping" if self.overlapping else "whole"
        return f"{self.objective} {self.layers}x{self.width} window {self.window} {way} seed {self.seed}"


@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass over the training rows, and the losses it left, in the unit of the objective."""

    number: int
    train_loss: float
    validation_loss: float


@dataclass(frozen=True, slots=True)
class Training:
    """A trained forecaster, the pass it was taken from, and every pass."""

    forecaster: GruForecaster
    best: int
    epochs: tuple[Epoch, ...]


def changes_of(closes: Array) -> Array:
    """Return the simple return of each close but the first, (closes - 1,)."""
    return np.asarray(closes[1:] / closes[:-1] - 1.0)


def train_gru(closes: Array, validation: int, recipe: Recipe, step: Callable[[], object] | None = None) -> Training:
    """Train on closes, of which the last `validation` say when to stop; nothing after them is looked at.

    Args:
        closes: (rows,), oldest first.
        validation: rows at the end that are not trained on.
        recipe: how.
        step: called once an epoch.

    Raises:
        DataError: too few rows for a window of either part, or closes that do not move.
    """
    changes = changes_of(closes)
    count = len(changes) - validation
    if count <= recipe.window + 1 or validation <= recipe.window + 1:
        raise DataError(
            f"{count} rows to train on and {validation} to stop by are too few for windows of {recipe.window}; give a "
            "longer history or a shorter window."
        )
    return _trained(changes, count, recipe, step)


def _trained(changes: Array, count: int, recipe: Recipe, step: Callable[[], object] | None) -> Training:
    """Train on the first `count` changes and stop by the others."""
    mean, deviation = float(changes[:count].mean()), float(changes[:count].std())
    if not deviation > 0:
        raise DataError("The closes do not move, so that there is nothing to learn; give candles that do.")
    scaled = (changes - mean) / deviation
    rng = np.random.default_rng(recipe.seed)
    network = Network(drawn(recipe.layers, recipe.width, rng), recipe.rate)
    known = _Lessons(scaled[:count], changes[:count], recipe)
    later = _Lessons(scaled[count:], changes[count:], recipe)
    epochs: list[Epoch] = []
    best, kept = 0, network.weights
    for number in range(1, recipe.epochs + 1):
        trained = _mean([_learn(network, *batch, recipe) for batch in known.batches(rng)])
        stopped_by = _mean([_measure(network, *batch, recipe) for batch in later.batches(None)])
        epochs.append(Epoch(number, trained, stopped_by))
        if step is not None:
            step()
        if number == 1 or epochs[-1].validation_loss < epochs[best - 1].validation_loss:
            best, kept = number, {name: value.copy() for name, value in network.weights.items()}
        if number - best >= recipe.patience:
            break
    return Training(_forecaster(kept, recipe, mean, deviation), best, tuple(epochs))


class _Lessons:
    """Sequences with what followed each of their steps, cut anew from another first row every time."""

    def __init__(self, scaled: Array, changes: Array, recipe: Recipe) -> None:
        self._inputs, self._next, self._recipe = scaled[:-1], changes[1:], recipe

    def batches(self, rng: np.random.Generator | None) -> list[tuple[Array, Array]]:
        """Return batches of (inputs, next changes), each (steps, sequences); without a generator the same each time."""
        window, rows = self._recipe.window, len(self._inputs)
        if self._recipe.overlapping:
            starts = np.arange(rows - window + 1)
        else:
            first = int(rng.integers(min(window, rows - window + 1))) if rng is not None else rows % window
            starts = np.arange(first, rows - window + 1, window)
        if rng is not None:
            rng.shuffle(starts)
        size = self._recipe.batch * (_MORE_OVERLAPPING if self._recipe.overlapping else 1)
        return [self._cut(starts[at : at + size]) for at in range(0, len(starts), size)]

    def _cut(self, starts: NDArray[np.intp]) -> tuple[Array, Array]:
        rows = np.arange(self._recipe.window)[:, None] + starts
        return self._inputs[rows], self._next[rows]


def _learn(network: Network, inputs: Array, following: Array, recipe: Recipe) -> tuple[float, int]:
    """Take one step and return the loss before it, with how many sequences it is of."""
    passed = network.forward(inputs)
    loss, slopes = loss_of(passed.scores, following, recipe)
    network.learn(network.gradient(slopes, passed))
    return loss, inputs.shape[1]


def _measure(network: Network, inputs: Array, following: Array, recipe: Recipe) -> tuple[float, int]:
    """Return the loss, learning nothing."""
    return loss_of(network.forward(inputs).scores, following, recipe)[0], inputs.shape[1]


def loss_of(scores: Array, following: Array, recipe: Recipe) -> tuple[float, Array]:
    """Return the mean loss of scores (steps, 2, sequences) before the changes that followed, and its slopes by them."""
    if recipe.overlapping:
        slopes = np.zeros_like(scores)
        loss, slopes[-1:] = _loss(scores[-1:], following[-1:], recipe)
        return loss, slopes
    return _loss(scores, following, recipe)


def _loss(scores: Array, following: Array, recipe: Recipe) -> tuple[float, Array]:
    margin, count = scores[:, 1] - scores[:, 0], following.size
    held = np.tanh(margin / 2)  # the probability of up less that of down
    if recipe.objective == "cross-entropy":
        side = np.where(following > 0, 1.0, -1.0)
        loss = float(np.logaddexp(0.0, -side * margin).mean())
        by_margin = (held - side) / (2 * count)
    else:
        traded = np.diff(held, axis=0, prepend=np.zeros((1, held.shape[1])))
        loss = -float((held * following).sum() - recipe.cost * np.abs(traded).sum()) / count
        turned = np.sign(traded)
        turned[:-1] -= turned[1:]  # what is held is traded into, and out of at the next step
        by_margin = (recipe.cost * turned - following) * (1 - held**2) / (2 * count)
    return loss, np.stack([-by_margin, by_margin], axis=1)


def _forecaster(state: dict[str, Array], recipe: Recipe, mean: float, deviation: float) -> GruForecaster:
    layers = tuple(Layer(*(state[f"{part}_l{number}"] for part in PARTS)) for number in range(recipe.layers))
    return GruForecaster(recipe.window, mean, deviation, layers, state["head.weight"], state["head.bias"])


def _mean(losses: list[tuple[float, int]]) -> float:
    return sum(loss * count for loss, count in losses) / sum(count for _, count in losses)
