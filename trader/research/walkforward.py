"""Fit to the past, trade what comes next, move on, fit again: what a rule would have earned had it been refitted.

A rule may choose its lags anew in every window: it fits every subset to the first three quarters of the window, keeps
the one with the best Sharpe ratio on the last quarter, and fits that one to the whole window. Nothing after the window
is looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trader.domain.interval import Interval
from trader.errors import ConfigError, DataError
from trader.forecast.fit import Array, Fit, subsets
from trader.research.dataset import Rows
from trader.research.losses import TOGETHER, Tell, fit_each
from trader.research.metrics import Metrics, signal_metrics

Scheme = Literal["rolling", "expanding"]
SCHEMES: tuple[Scheme, ...] = ("rolling", "expanding")

_CHOOSING = 0.75  # of a window, where subsets are fitted before the rest chooses among them


@dataclass(frozen=True, slots=True)
class Windows:
    """How a walk moves, in rows: `train` seen at first, `test` forecast, `step` to the next fit.

    A rolling window keeps its length, an expanding one its beginning.

    Raises:
        ConfigError: a number is not positive.
    """

    train: int
    test: int
    step: int
    scheme: Scheme = "rolling"

    def __post_init__(self) -> None:
        if min(self.train, self.test, self.step) < 1:
            raise ConfigError("A walk needs at least one candle to train, to test and to step; give positive numbers.")

    @classmethod
    def year_and_quarter(cls, interval: Interval, scheme: Scheme = "rolling") -> "Windows":
        """Return the usual ones: a year, and quarters of it (548 and 137 candles of 16h)."""
        year = round(interval.per_year)
        return cls(year, max(year // 4, 1), max(year // 4, 1), scheme)

    def folds(self, rows: int) -> list[tuple[slice, slice]]:
        """Return the rows trained on and tested on, fold by fold; only whole tests count.

        Raises:
            DataError: there are too few rows for one fold.
        """
        starts = range(self.train, rows - self.test + 1, self.step)
        if not starts:
            raise DataError(
                f"{rows} candles are too few to train on {self.train} and test on {self.test}; give a longer history "
                "or shorter windows."
            )
        rolling = self.scheme == "rolling"
        return [(slice(at - self.train if rolling else 0, at), slice(at, at + self.test)) for at in starts]


@dataclass(frozen=True, slots=True)
class Fold:
    """One refit: the first and last closes it saw and it was tried on, its lags and weights, and what it earned."""

    train_first: datetime
    train_last: datetime
    test_first: datetime
    test_last: datetime
    rows: int
    lags: tuple[int, ...]
    weights: tuple[float, ...]
    bias: float
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class Walk:
    """All folds, and the stitched curve: at each close, the forecast of the newest fit that had not seen it."""

    windows: Windows
    folds: tuple[Fold, ...]
    close_times: tuple[datetime, ...]
    forecasts: Array
    returns: Array
    metrics: Metrics
    fits: int

    @property
    def earned(self) -> Array:
        """The log return of each candle of the curve, taken in the forecast's direction."""
        return np.asarray(np.sign(self.forecasts) * self.returns)

    @property
    def positive(self) -> int:
        """How many folds earned something, before costs."""
        return sum((fold.metrics["ev"] or 0.0) > 0 for fold in self.folds)

    @property
    def mean_ev(self) -> float:
        """The mean of the folds' mean log returns."""
        return float(np.mean([fold.metrics["ev"] or 0.0 for fold in self.folds]))


def walk_forward(
    rows: Rows,
    lags: Sequence[int],
    interval: Interval,
    windows: Windows,
    *,
    loss: str = "l1",
    largest: int | None = None,
    tell: Tell | None = None,
) -> Walk:
    """Refit and try along the rows.

    Args:
        rows: features in the order of `lags`.
        lags: the lags, or the pool they are chosen from.
        interval: of the candles, for the annual Sharpe ratio.
        windows: how the walk moves.
        loss: one of `losses.LOSSES`.
        largest: choose in each window among all subsets of up to so many lags; None keeps all lags.
        tell: told how many fits are done, every few hundred.

    Raises:
        ConfigError: there is no such loss.
        DataError: there are too few rows.
    """
    folds = windows.folds(len(rows.target))
    everything = np.ones((1, len(lags)), dtype=bool)
    chosen = everything.repeat(len(folds), axis=0)
    trains = [train for train, _ in folds]
    fits = len(folds)
    if largest is not None:
        choices = subsets(len(lags), min(largest, len(lags)))
        chosen = np.array([choices[best] for best in _best(rows, trains, choices, interval, loss, tell)])
        fits += len(choices) * len(folds)
    found = fit_spans(rows, trains, loss, chosen, tell if largest is None else None)
    said = [
        fit.bias + rows.features[test][:, used] @ np.array(fit.weights)
        for fit, used, (_, test) in zip(found, chosen, folds, strict=True)
    ]
    kept = [min(windows.step, windows.test)] * (len(folds) - 1) + [windows.test]
    places = np.concatenate([np.arange(test.start, test.start + k) for (_, test), k in zip(folds, kept, strict=True)])
    forecasts = np.concatenate([one[:k] for one, k in zip(said, kept, strict=True)])
    return Walk(
        windows=windows,
        folds=tuple(
            _fold(rows, train, test, [lag for lag, use in zip(lags, used, strict=True) if use], fit, forecast, interval)
            for (train, test), used, fit, forecast in zip(folds, chosen, found, said, strict=True)
        ),
        close_times=tuple(rows.close_times[place] for place in places),
        forecasts=forecasts,
        returns=rows.target[places],
        metrics=signal_metrics(forecasts, rows.target[places], interval),
        fits=fits,
    )


def _fold(
    rows: Rows, train: slice, test: slice, lags: Sequence[int], fit: Fit, forecast: Array, interval: Interval
) -> Fold:
    times = rows.close_times
    return Fold(
        train_first=times[train.start],
        train_last=times[train.stop - 1],
        test_first=times[test.start],
        test_last=times[test.stop - 1],
        rows=train.stop - train.start,
        lags=tuple(lags),
        weights=fit.weights,
        bias=fit.bias,
        metrics=signal_metrics(forecast, rows.target[test], interval),
    )


def fit_spans(
    rows: Rows, spans: Sequence[slice], loss: str, used: NDArray[np.bool_] | None = None, tell: Tell | None = None
) -> list[Fit]:
    """Fit one problem a span of rows, those of equal length together, a few hundred at a time.

    `used` is (spans, lags): the lags that each may use, all unless given. `tell` is told how many are done.

    Raises:
        ConfigError: there is no such loss.
        DataError: a span is too short.
    """
    if used is None:
        used = np.ones((len(spans), rows.features.shape[1]), dtype=bool)
    alike: dict[int, list[int]] = {}
    for place, span in enumerate(spans):
        alike.setdefault(span.stop - span.start, []).append(place)
    found: dict[int, Fit] = {}
    for places in alike.values():
        for start in range(0, len(places), TOGETHER):
            if tell is not None:
                tell(len(found) / len(spans), f"{len(found):,} of {len(spans):,} fits")
            some = places[start : start + TOGETHER]
            features = np.array([rows.features[spans[place]] for place in some])
            target = np.array([rows.target[spans[place]] for place in some])
            found.update(zip(some, fit_each(features, target, used[some], loss), strict=True))
    return [found[place] for place in range(len(spans))]


def _best(
    rows: Rows,
    spans: Sequence[slice],
    choices: NDArray[np.bool_],
    interval: Interval,
    loss: str,
    tell: Tell | None,
) -> list[int]:
    """Return for each window the subset that did best on its last part, fitted to the first, the earlier on a tie."""
    cuts = [span.start + int((span.stop - span.start) * _CHOOSING) for span in spans]
    parts = [slice(span.start, cut) for span, cut in zip(spans, cuts, strict=True) for _ in choices]
    fits = fit_spans(rows, parts, loss, np.tile(choices, (len(spans), 1)), tell)
    best = []
    for window, (span, cut) in enumerate(zip(spans, cuts, strict=True)):
        judged = slice(cut, span.stop)
        sharpes = []
        for used, fit in zip(choices, fits[window * len(choices) :], strict=False):
            said = fit.bias + rows.features[judged][:, used] @ np.array(fit.weights)
            sharpe = signal_metrics(said, rows.target[judged], interval)["sharpe"]
            sharpes.append(-np.inf if sharpe is None else sharpe)
        best.append(int(np.argmax(sharpes)))
    return best
