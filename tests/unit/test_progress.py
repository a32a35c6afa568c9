"""What a progress bar is told: shares that grow from nothing towards everything, and true totals."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tests.unit.forecast_frames import INTERVAL
from trader.cli.progress import progress_of_several
from trader.research.benchmark import benchmark
from trader.research.dataset import Rows
from trader.research.losses import TOGETHER
from trader.research.walkforward import Windows, walk_forward


def history(count: int = 300, lags: int = 10) -> Rows:
    random = np.random.default_rng(4)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    features = random.standard_t(3, (count, lags)) * 0.02
    times = [start + timedelta(hours=16 * row) for row in range(count)]
    return Rows(times, features, random.standard_t(3, count) * 0.02)


def test_a_benchmark_tells_how_many_of_its_subsets_are_fitted() -> None:
    told: list[tuple[float, str]] = []
    found = benchmark(
        history(), range(1, 11), INTERVAL, largest=4, loss="mse", tell=lambda share, words: told.append((share, words))
    )
    assert len(found.entries) == 385
    assert told == [(0.0, "0 of 385 fits"), (TOGETHER / 385, "256 of 385 fits")]


@pytest.mark.parametrize(("largest", "fits"), [(None, 4), (2, 4 * 55)])
def test_a_walk_tells_how_many_of_its_windows_are_fitted(largest: int | None, fits: int) -> None:
    told: list[tuple[float, str]] = []
    windows = Windows(100, 50, 50, "expanding")
    walk_forward(
        history(),
        range(1, 11),
        INTERVAL,
        windows,
        largest=largest,
        loss="mse",
        tell=lambda share, words: told.append((share, words)),
    )
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert (shares[0], len(set(shares))) == (0.0, 4)
    assert {words.split(" of ")[1] for _, words in told} == {f"{fits} fits"}


def test_fits_are_the_same_however_many_are_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = history(lags=5)
    whole = benchmark(rows, range(1, 6), INTERVAL, largest=3)
    monkeypatch.setattr("trader.research.losses.TOGETHER", 7)
    assert [(entry.lags, entry.weights) for entry in whole.entries] == [
        (entry.lags, entry.weights) for entry in benchmark(rows, range(1, 6), INTERVAL, largest=3).entries
    ]


def test_several_bars_are_silent_where_nobody_watches_and_have_a_step_each(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_of_several({"learning": 3, "walking": 0, "weighing": None}) as steps:
        assert len(steps) == 3
        assert [step() for step in steps] == [None] * 3
    assert capsys.readouterr().err == ""
