"""The same lags and loss fitted again and again to the past, and tried on what came next."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from trader.domain.interval import Interval
from trader.research.dataset import Rows
from trader.research.evidence.earnings import Array, Candles, held, net
from trader.research.walkforward import fit_spans


@dataclass(frozen=True, slots=True)
class Fold:
    """One stretch after a refit: its first and last close, and the mean log return before and after costs."""

    first_close: datetime
    last_close: datetime
    ev: float
    net_ev: float


@dataclass(frozen=True, slots=True)
class WalkForward:
    """Rolling refits: `train` and `test` are candles a fold; a fold is forecast by a fit to what lies before it."""

    train: int
    test: int
    folds: tuple[Fold, ...]

    @property
    def positive(self) -> int:
        """How many folds earned something after costs."""
        return sum(fold.net_ev > 0 for fold in self.folds)


def year_and_quarter(interval: Interval) -> tuple[int, int]:
    """Return how many candles a fold trains and is tested on: a year, and a quarter of one."""
    train = round(interval.per_year)
    return train, train // 4


def walk_forward(rows: Rows, candles: Candles, loss: str, cost: float, train: int, test: int) -> WalkForward:
    """Refit every `test` candles to the `train` before them, and hold what each fit says until the next.

    Args:
        rows: the pairs a fit reads; each is of one of `candles`.
        candles: what those candles returned, row by row the same as `rows`.
        loss: what the fits minimise; one of `losses.REFITTED`.
        cost: paid on each unit of notional traded; a side carried from fold to fold is not paid again.
        train: candles a fit reads.
        test: candles until the next fit.
    """
    starts = range(train, len(rows.target) - test + 1, test)
    sides: list[Array] = []
    spans = [slice(start - train, start) for start in starts]
    for start, fit in zip(starts, fit_spans(rows, spans, loss), strict=True):
        sides.append(np.asarray(rows.features[start : start + test] @ np.array(fit.weights) + fit.bias))
    if not sides:
        return WalkForward(train, test, ())
    whole = held(np.concatenate(sides))
    after = candles.part(slice(train, train + len(whole)))
    gross, left = whole * after.returns, net(whole, after, cost)
    folds = [
        Fold(
            first_close=rows.close_times[start],
            last_close=rows.close_times[start + test - 1],
            ev=float(gross[start - train : start - train + test].mean()),
            net_ev=float(left[start - train : start - train + test].mean()),
        )
        for start in starts
    ]
    return WalkForward(train, test, tuple(folds))
