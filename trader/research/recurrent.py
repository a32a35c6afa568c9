"""Train the recurrent forecaster: windows without overlap, every step a lesson, and a stop before it learns by heart.

The rows before the split are cut in two: the earlier train, the later part says when to stop (`validation`). What comes
after the split is seen by no fit. torch is imported only when a fit is made.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trader.errors import ConfigError, DataError, ModelError
from trader.forecast.gru import GruForecaster, Layer

Array = NDArray[np.float64]
Objective = Literal["cross-entropy", "profit"]

OBJECTIVES: tuple[Objective, ...] = ("cross-entropy", "profit")
_BATCH = 8
_CLIP = 1.0  # the longest step a gradient may ask for, because one wild window would undo many tame ones


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train.

    `window` steps a sequence and a forecast; `layers` of `width` numbers; at most `epochs`, ended after `patience` of
    them without a better validation loss, and the best one is kept. `objective` is cross entropy of the direction, or
    the profit of holding the probability of up less that of down, less `cost` a unit of notional traded. `overlapping`
    trains on a window a row and its last step alone, as the research did: some hundred times the work an epoch.
    """

    window: int = 512
    layers: int = 3
    width: int = 16
    epochs: int = 60
    patience: int = 12
    objective: Objective = "cross-entropy"
    cost: float = 0.0005
    rate: float = 1e-3
    overlapping: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.window, self.layers, self.width, self.epochs, self.patience) < 1 or not 0 < self.rate < 1:
            raise ConfigError(
                "Window, layers, width, epochs and patience are whole numbers from 1 and the rate is between 0 and 1; "
                "correct the one that is not."
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
        ModelError: torch is not installed.
    """
    changes = changes_of(closes)
    count = len(changes) - validation
    if count <= recipe.window + 1 or validation <= recipe.window + 1:
        raise DataError(
            f"{count} rows to train on and {validation} to stop by are too few for windows of {recipe.window}; give a "
            "longer history or a shorter window."
        )
    torch = _torch()
    # so small a network is slower on several threads, and adds in another order on another number of them
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _trained(torch, changes, count, recipe, step)
    finally:
        torch.set_num_threads(threads)


def _trained(torch: Any, changes: Array, count: int, recipe: Recipe, step: Callable[[], object] | None) -> Training:
    """Train on the first `count` changes and stop by the others."""
    mean, deviation = float(changes[:count].mean()), float(changes[:count].std())
    if not deviation > 0:
        raise DataError("The closes do not move, so that there is nothing to learn; give candles that do.")
    scaled = (changes - mean) / deviation
    torch.manual_seed(recipe.seed)
    network = _Network(torch, recipe)
    known = _Lessons(torch, scaled[:count], changes[:count], recipe)
    later = _Lessons(torch, scaled[count:], changes[count:], recipe)
    rng = np.random.default_rng(recipe.seed)
    epochs: list[Epoch] = []
    best, kept = 0, network.state()
    for number in range(1, recipe.epochs + 1):
        epochs.append(Epoch(number, network.learn(known.batches(rng)), network.measure(later.batches(None))))
        if step is not None:
            step()
        if number == 1 or epochs[-1].validation_loss < epochs[best - 1].validation_loss:
            best, kept = number, network.state()
        if number - best >= recipe.patience:
            break
    return Training(_forecaster(kept, recipe, mean, deviation), best, tuple(epochs))


class _Lessons:
    """Sequences with what followed each of their steps, cut anew from another first row every time."""

    def __init__(self, torch: Any, scaled: Array, changes: Array, recipe: Recipe) -> None:
        self._torch = torch
        self._inputs = scaled[:-1].astype(np.float32)
        self._next = changes[1:].astype(np.float32)
        self._recipe = recipe

    def batches(self, rng: np.random.Generator | None) -> list[tuple[Any, Any]]:
        """Return batches of (inputs, next changes), each (sequences, steps); without a generator the same each time."""
        window, rows = self._recipe.window, len(self._inputs)
        if self._recipe.overlapping:
            starts = np.arange(rows - window + 1)
        else:
            first = int(rng.integers(min(window, rows - window + 1))) if rng is not None else rows % window
            starts = np.arange(first, rows - window + 1, window)
        if rng is not None:
            rng.shuffle(starts)
        size = _BATCH * (32 if self._recipe.overlapping else 1)
        return [self._cut(starts[at : at + size]) for at in range(0, len(starts), size)]

    def _cut(self, starts: NDArray[np.intp]) -> tuple[Any, Any]:
        rows = starts[:, None] + np.arange(self._recipe.window)
        return self._torch.from_numpy(self._inputs[rows]), self._torch.from_numpy(self._next[rows])


class _Network:
    """torch's own layers, and what one pass over the lessons does to them."""

    def __init__(self, torch: Any, recipe: Recipe) -> None:
        self._torch, self._recipe = torch, recipe
        self._cell = torch.nn.GRU(1, recipe.width, recipe.layers, batch_first=True)
        self._head = torch.nn.Linear(recipe.width, 2)
        self._parameters = [*self._cell.parameters(), *self._head.parameters()]
        self._optimiser = torch.optim.Adam(self._parameters, lr=recipe.rate)

    def learn(self, batches: list[tuple[Any, Any]]) -> float:
        """Take one step a batch and return the mean loss on the way."""
        losses = []
        for inputs, following in batches:
            self._optimiser.zero_grad()
            loss = self._loss(inputs, following)
            loss.backward()
            self._torch.nn.utils.clip_grad_norm_(self._parameters, _CLIP)
            self._optimiser.step()
            losses.append((loss.item(), len(inputs)))
        return _mean(losses)

    def measure(self, batches: list[tuple[Any, Any]]) -> float:
        """Return the mean loss, learning nothing."""
        with self._torch.no_grad():
            return _mean([(self._loss(*batch).item(), len(batch[0])) for batch in batches])

    def state(self) -> dict[str, Array]:
        """Return every weight in float64, by torch's names."""
        named = {**self._cell.state_dict(), **{f"head.{k}": v for k, v in self._head.state_dict().items()}}
        return {name: value.double().numpy().copy() for name, value in named.items()}

    def _loss(self, inputs: Any, following: Any) -> Any:
        scores = self._head(self._cell(inputs[:, :, None])[0])
        if self._recipe.overlapping:
            scores, following = scores[:, -1:], following[:, -1:]
        if self._recipe.objective == "cross-entropy":
            up = (following > 0).long()
            return self._torch.nn.functional.cross_entropy(scores.flatten(0, 1), up.flatten())
        held = self._torch.tanh((scores[..., 1] - scores[..., 0]) / 2)  # the probability of up less that of down
        traded = self._torch.diff(held, dim=1).abs().sum() + held[:, 0].abs().sum()
        return -((held * following).sum() - self._recipe.cost * traded) / following.numel()


def _forecaster(state: dict[str, Array], recipe: Recipe, mean: float, deviation: float) -> GruForecaster:
    layers = tuple(
        Layer(*(state[f"{name}_l{number}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")))
        for number in range(recipe.layers)
    )
    return GruForecaster(recipe.window, mean, deviation, layers, state["head.weight"], state["head.bias"])


def _mean(losses: list[tuple[float, int]]) -> float:
    return sum(loss * count for loss, count in losses) / sum(count for _, count in losses)


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ModelError("Training a recurrent model needs torch, which is not installed; run `make setup`.") from error
    return torch
