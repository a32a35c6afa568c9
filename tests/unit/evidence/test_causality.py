"""A forecaster that looks ahead, or needs more of the past than it says, is found out."""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl
import pytest

from tests.unit.forecast_frames import START, frame_of
from trader.forecast.linear import LinearForecaster
from trader.research.evidence.causality import Causality, examine

CLOSES = [100.0 + (row * row) % 13 for row in range(60)]


@dataclass(frozen=True)
class Rule:
    """A forecaster that says an expression of the closes."""

    said: Callable[[], pl.Expr]
    warmup: int = 3

    def forecast(self, candles: pl.DataFrame) -> pl.DataFrame:
        forecast = self.said().alias("forecast")
        return candles.select("symbol", "close_time", forecast, pl.lit(0.5).alias("confidence")).drop_nulls()


def momentum() -> pl.Expr:
    return (pl.col("close") / pl.col("close").shift(2)).log()


def next_return() -> pl.Expr:
    return (pl.col("close").shift(-1) / pl.col("close")).log()


def above_the_mean_of_all() -> pl.Expr:
    return (pl.col("close") / pl.col("close").mean()).log() + 0 * momentum()


def recursive_average() -> pl.Expr:
    return pl.col("close").ewm_mean(span=3, adjust=False) - pl.col("close") + 0 * momentum()


def test_the_forecaster_that_trades_passes() -> None:
    steps: list[int] = []
    found = examine(
        LinearForecaster((1, 3), (-0.1, 0.05), 0.001, 0.02), frame_of(CLOSES), START, 20, lambda: steps.append(1)
    )
    assert (found.passed, found.closes, len(steps)) == (True, 20, 20)
    assert examine(Rule(momentum), frame_of(CLOSES), START).passed


@pytest.mark.parametrize("said", [next_return, above_the_mean_of_all])
def test_a_forecast_that_knows_the_future_is_found(said: Callable[[], pl.Expr]) -> None:
    found = examine(Rule(said), frame_of(CLOSES), START, 30)
    assert not found.passed
    assert len(found.look_ahead) > 25


def test_a_forecast_that_remembers_more_than_its_warm_up_is_found() -> None:
    found = examine(Rule(recursive_average), frame_of(CLOSES), START, 30)
    assert found.look_ahead == ()
    assert len(found.recursive) > 25
    assert not found.passed


def test_a_warm_up_longer_than_what_is_needed_is_found_too() -> None:
    found = examine(Rule(momentum, warmup=4), frame_of(CLOSES), START, 30)
    assert (found.look_ahead, found.recursive, len(found.unready)) == ((), (), 30)
    assert not found.passed


def test_only_closes_after_the_boundary_are_asked_about_and_the_latest_among_them() -> None:
    frame = frame_of(CLOSES)
    times = frame["close_time"].to_list()
    found = examine(Rule(next_return), frame, times[29], 10)
    assert found.closes == 10
    assert found.look_ahead[-1] == times[-1]
    assert min(found.look_ahead) == times[30]
    nothing = examine(Rule(momentum), frame, times[-1])
    assert nothing == Causality(0, (), (), ())
    assert not nothing.passed
