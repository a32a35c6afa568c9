from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader.domain.interval import Interval
from trader.errors import ConfigError, DataError
from trader.forecast.fit import FITS, fit_l1
from trader.research.dataset import Rows
from trader.research.walkforward import Scheme, Windows, walk_forward

DAY = Interval.parse("1d")


def history(count: int = 200, seed: int = 2, lags: int = 2) -> Rows:
    random = np.random.default_rng(seed)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    features = random.standard_t(3, (count, lags)) * 0.02
    target = -0.3 * features[:, 0] + random.standard_t(3, count) * 0.02
    return Rows([start + timedelta(days=day) for day in range(count)], features, target)


@pytest.mark.parametrize("scheme", ["rolling", "expanding"])
@pytest.mark.parametrize("loss", ["l1", "mse"])
def test_every_fold_is_the_fit_to_what_lies_before_it(scheme: Scheme, loss: str) -> None:
    rows = history()
    walk = walk_forward(rows, (1, 2), DAY, Windows(80, 30, 30, scheme), loss=loss)
    assert len(walk.folds) == walk.fits == 4
    for number, fold in enumerate(walk.folds):
        at = 80 + 30 * number
        first = at - 80 if scheme == "rolling" else 0
        fit = FITS[loss](rows.features[first:at], rows.target[first:at])
        assert fold.weights == pytest.approx(fit.weights, abs=1e-13)
        assert (fold.train_first, fold.train_last) == (rows.close_times[first], rows.close_times[at - 1])
        assert (fold.test_first, fold.test_last) == (rows.close_times[at], rows.close_times[at + 29])
        said = np.sign(fit.bias + rows.features[at : at + 30] @ np.array(fit.weights))
        assert fold.metrics["ev"] == pytest.approx(float((said * rows.target[at : at + 30]).mean()), abs=1e-15)
    assert walk.mean_ev == pytest.approx(float(walk.metrics["ev"] or 0.0), abs=1e-15)
    assert list(walk.close_times) == rows.close_times[80:]
    assert walk.returns.tolist() == rows.target[80:].tolist()


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(["rolling", "expanding"]), st.sampled_from([None, 2]))
def test_a_forecast_never_changes_when_the_future_arrives(
    test: int, step: int, scheme: Scheme, largest: int | None
) -> None:
    rows, windows = history(120), Windows(40, test, step, scheme)
    whole = walk_forward(rows, (1, 2), DAY, windows, largest=largest)
    cut = Rows(rows.close_times[:100], rows.features[:100], rows.target[:100])
    before = walk_forward(cut, (1, 2), DAY, windows, largest=largest)
    assert whole.folds[: len(before.folds)] == before.folds
    again = dict(zip(whole.close_times, whole.forecasts.tolist(), strict=True))
    last = before.folds[-1].test_first
    for close, forecast in zip(before.close_times, before.forecasts.tolist(), strict=True):
        # what the last fold says may be said anew by the next one, which is newer
        assert close >= last or again[close] == forecast


def test_a_shorter_step_lets_the_newest_fit_speak() -> None:
    rows = history()
    walk = walk_forward(rows, (1, 2), DAY, Windows(80, 30, 10))
    assert len(set(walk.close_times)) == len(walk.close_times) == 120
    place = walk.close_times.index(rows.close_times[95])
    fit = fit_l1(rows.features[10:90], rows.target[10:90])
    assert walk.forecasts[place] == pytest.approx(
        fit.bias + float(rows.features[95] @ np.array(fit.weights)), abs=1e-15
    )


def test_lags_are_chosen_inside_each_window() -> None:
    rows = history(400, lags=3)
    walk = walk_forward(rows, (1, 2, 3), DAY, Windows(200, 50, 50), largest=2)
    assert walk.fits == 4 * (1 + 6)
    assert all(1 <= len(fold.lags) <= 2 and len(fold.weights) == len(fold.lags) for fold in walk.folds)
    assert sum(1 in fold.lags for fold in walk.folds) >= 3
    alone = fit_l1(
        np.ascontiguousarray(rows.features[:200, [lag - 1 for lag in walk.folds[0].lags]]), rows.target[:200]
    )
    assert walk.folds[0].weights == pytest.approx(alone.weights, abs=1e-13)


def test_windows_that_cannot_be_walked_are_refused() -> None:
    with pytest.raises(ConfigError, match="give positive numbers"):
        Windows(10, 0, 5)
    with pytest.raises(DataError, match="30 candles are too few to train on 20 and test on 11"):
        Windows(20, 11, 5).folds(30)
    assert Windows.year_and_quarter(Interval.parse("16h")) == Windows(548, 137, 137)
