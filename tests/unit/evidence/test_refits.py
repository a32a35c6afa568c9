"""A recurrent model is walked forward by training it again on what lay before each fold, and on nothing else."""

import numpy as np

from tests.unit.forecast_frames import INTERVAL, frame_of
from trader.research.evidence.earnings import Candles
from trader.research.evidence.refits import FOLDS, Walks, walk_recurrent
from trader.research.recurrent import Recipe

SMALL = Recipe(window=8, layers=1, width=4, epochs=6, patience=6, rate=0.03)


def turning(rows: int) -> list[float]:
    """Closes whose changes take turns nine times out of ten."""
    rng = np.random.default_rng(1)
    signs = np.where(np.arange(rows) % 2 == 0, 1, -1) * np.where(rng.random(rows) < 0.1, -1, 1)
    return (100 * np.exp(np.cumsum(signs * 0.003))).tolist()


def walked(closes: list[float], cost: float = 0.0) -> tuple[Walks, list[int]]:
    passes: list[int] = []
    history = frame_of(closes)
    candles = Candles.of(history, INTERVAL, None)
    return walk_recurrent(SMALL, history, candles, cost, lambda: passes.append(1)), passes


def test_every_fold_is_forecast_by_a_training_on_what_lay_before_it() -> None:
    closes = turning(600)
    walks, passes = walked(closes)
    found = walks.direction
    times = frame_of(closes)["close_time"].to_list()
    assert (found.train, found.test, len(found.folds)) == (240, 60, FOLDS)
    assert len(passes) <= FOLDS * SMALL.epochs
    assert [(fold.first_close, fold.last_close) for fold in found.folds] == [
        (times[first], times[first + 59]) for first in range(240, 600, 60)
    ]
    # a side that is right nine times out of ten earns four fifths of a change, 24 basis points
    assert sum(fold.ev for fold in found.folds) / FOLDS > 0.0012
    assert min(fold.ev for fold in found.folds) > 0


def test_what_comes_later_changes_nothing_of_a_fold() -> None:
    closes = turning(600)
    bent = closes[:480] + [2 * close for close in closes[480:]]
    ours, theirs = walked(closes)[0].direction.folds, walked(bent)[0].direction.folds
    assert ours[:4] == theirs[:4]
    assert ours[4] != theirs[4]


def test_costs_are_paid_on_every_turn_from_one_side_to_the_other() -> None:
    walks = walked(turning(600), cost=0.01)[0]
    assert all(fold.net_ev < fold.ev - 0.01 for fold in walks.direction.folds)
    # a share of the exposure earns a share of it, and pays for as much
    for whole, share in zip(walks.direction.folds, walks.proportional.folds, strict=True):
        assert (whole.first_close, whole.last_close) == (share.first_close, share.last_close)
        assert 0 < share.ev < whole.ev
        assert whole.net_ev - whole.ev < share.net_ev - share.ev < 0


def test_a_history_too_short_for_a_window_to_train_on_and_one_to_stop_by_has_no_folds() -> None:
    found, passes = walked(turning(120))
    assert found.direction.folds == found.proportional.folds == ()
    assert passes == []
