"""What a walk forward earned after costs."""

from dataclasses import dataclass
from datetime import datetime

from trader.research.dataset import Rows
from trader.research.evidence.earnings import Array, Candles, held, net
from trader.research.walkforward import Windows, walk_forward


@dataclass(frozen=True, slots=True)
class Fold:
    """One stretch after a refit: its first and last close, and the mean log return before and after costs."""

    first_close: datetime
    last_close: datetime
    ev: float
    net_ev: float


@dataclass(frozen=True, slots=True)
class WalkForward:
    """Refits: `train` and `test` are candles a fold; a fold is forecast by a fit to what lies before it."""

    train: int
    test: int
    folds: tuple[Fold, ...]

    @property
    def positive(self) -> int:
        """How many folds earned something after costs."""
        return sum(fold.net_ev > 0 for fold in self.folds)


def walk_after_costs(rows: Rows, candles: Candles, loss: str, cost: float, windows: Windows) -> WalkForward:
    """Refit along the rows, and hold what each fit says until the next; a history too short for a fold has none.

    Args:
        rows: the pairs a fit reads; each is of one of `candles`.
        candles: what those candles returned, row by row the same as `rows`.
        loss: what the fits minimise; one of `losses.REFITTED`.
        cost: paid on each unit of notional traded; a side carried from fold to fold is not paid again.
        windows: how the walk moves; each test begins where the one before it ends.
    """
    train, test = windows.train, windows.test
    if len(rows.target) < train + test:
        return WalkForward(train, test, ())
    interval = candles.interval
    walk = walk_forward(
        rows, range(rows.features.shape[1]), interval, Windows(train, test, test, windows.scheme), loss=loss
    )
    after = candles.part(slice(train, train + len(walk.forecasts)))
    return after_costs(held(walk.forecasts), after, cost, train, test)


def after_costs(sides: Array, candles: Candles, cost: float, train: int, test: int) -> WalkForward:
    """Cut what the sides of a walk earned into its folds, stretches of `test` candles one after another."""
    gross, left = (
        earned.reshape(-1, test).mean(axis=1) for earned in (sides * candles.returns, net(sides, candles, cost))
    )
    times = candles.close_times
    folds = [
        Fold(times[at], times[at + test - 1], float(ev), float(net_ev))
        for at, ev, net_ev in zip(range(0, len(sides), test), gross, left, strict=True)
    ]
    return WalkForward(train, test, tuple(folds))
