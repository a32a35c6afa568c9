"""A walk-forward of 14 folds: one lag, an absolute loss, refitted every quarter to the year before."""

from datetime import UTC, datetime, timedelta

import numpy as np

from benchmarks.frame import Check, Row, interleaved
from benchmarks.l1_ways import EPOCHS, adam, highs_parameters, rows
from trader.domain.interval import Interval
from trader.research.dataset import Rows
from trader.research.walkforward import Windows, walk_forward

_FOLDS = 14
_SAMPLED = 100  # epochs of the loop that are timed; each takes as long as any other


def measure() -> Row:
    interval = Interval.parse("16h")
    windows = Windows.year_and_quarter(interval)
    count = windows.train + _FOLDS * windows.test
    features, target = rows(count)
    features = np.ascontiguousarray(features[:, :1])
    start = datetime(2023, 1, 1, tzinfo=UTC)
    history = Rows([start + timedelta(hours=16 * row) for row in range(count)], features, target)
    spans = windows.folds(count)

    def ours() -> list[float]:
        walk = walk_forward(history, (1,), interval, windows)
        return [fold.metrics["ev"] or 0.0 for fold in walk.folds]

    def with_adam() -> None:
        for train, _ in spans:
            adam(features[train], target[train], _SAMPLED)

    def with_highs() -> list[float]:
        evs = []
        for train, test in spans:
            bias, weight = highs_parameters(features[train], target[train])
            evs.append(float((np.sign(bias + weight * features[test, 0]) * target[test]).mean()))
        return evs

    seconds, sampled = interleaved(ours, with_adam, times=3)
    apart = float(np.abs(np.array(ours()) - np.array(with_highs())).max())
    return Row(
        f"walk-forward, {_FOLDS} folds",
        seconds,
        {
            "adam": Check.faster(seconds, sampled * EPOCHS / _SAMPLED, 500),
            "evs": Check.true(apart < 5e-7, "EVs of the linear programme's fits to 6 decimals", apart),
        },
        f"Adam: {_SAMPLED} of {EPOCHS} epochs timed, scaled",
    )
