"""Whether a forecast changes when the future arrives, or when the past is cut to the warm-up; asked of the real one.

A look-ahead analysis and a recursive analysis in one: at sampled closes the forecast from the candles up to that close,
and the forecast from its last `warmup` candles alone, must equal the one made with all the candles, to the last bit.
Of the candles up to a close as many as `_PAST` more than the warm-up are given: whatever needs others is found anyway.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
import polars as pl

_PAST = 100  # candles before the warm-up; a network's forecast of a long history at every sampled close takes an hour
_LATEST = 20  # of the sampled closes, those at the very end


class Forecaster(Protocol):
    """Whatever forecasts a candle frame; as in `forecast.linear`."""

    @property
    def warmup(self) -> int:
        """Closed candles needed before a row may be trusted."""
        ...

    def forecast(self, candles: pl.DataFrame) -> pl.DataFrame:
        """Forecast every close that has its history."""
        ...


@dataclass(frozen=True, slots=True)
class Causality:
    """How many closes were looked at, and at which of them a forecast knew the future or more than its warm-up.

    `unready` are closes at which fewer candles than the warm-up already gave a forecast.
    """

    closes: int
    look_ahead: tuple[datetime, ...]
    recursive: tuple[datetime, ...]
    unready: tuple[datetime, ...]

    @property
    def passed(self) -> bool:
        """Whether something was looked at and nothing found."""
        return self.closes > 0 and not (self.look_ahead or self.recursive or self.unready)


def examine(
    forecaster: Forecaster,
    candles: pl.DataFrame,
    since: datetime,
    samples: int = 100,
    step: Callable[[], object] | None = None,
) -> Causality:
    """Forecast again at sampled closes after `since` from less than everything.

    Args:
        forecaster: the one that trades.
        candles: a candle frame of one symbol, in the interval of the forecaster.
        since: closes up to it are not asked about.
        samples: how many closes to ask about, spread evenly with the latest among them; all where there are fewer.
        step: called once a close.
    """
    whole = {row[0]: row[1:] for row in _rows(forecaster.forecast(candles))}
    times = candles["close_time"].to_list()
    ready = [row for row, close in enumerate(times) if close > since and row + 1 >= forecaster.warmup]
    look_ahead, recursive, unready = [], [], []
    asked = _spread(ready, samples)
    for row in asked:
        close, first = times[row], row + 1 - forecaster.warmup
        expected = whole.get(close)
        if expected is None or _last(forecaster, candles[max(0, first - _PAST) : row + 1], close) != expected:
            look_ahead.append(close)
        if _last(forecaster, candles[first : row + 1], close) != expected:
            recursive.append(close)
        if _last(forecaster, candles[first + 1 : row + 1], close) is not None:
            unready.append(close)
        if step is not None:
            step()
    return Causality(len(asked), tuple(look_ahead), tuple(recursive), tuple(unready))


def _spread(ready: list[int], samples: int) -> list[int]:
    if len(ready) <= samples:
        return ready
    latest = min(_LATEST, samples // 2)
    even = np.linspace(0, len(ready) - latest - 1, samples - latest).astype(int)
    return [ready[place] for place in even] + ready[len(ready) - latest :]


def _rows(forecasts: pl.DataFrame) -> list[tuple[datetime, float, float]]:
    return list(forecasts.select("close_time", "forecast", "confidence").iter_rows())


def _last(forecaster: Forecaster, candles: pl.DataFrame, close: datetime) -> tuple[float, float] | None:
    """Return what is said at a close, None where nothing is."""
    if candles.is_empty():
        return None
    return next((row[1:] for row in _rows(forecaster.forecast(candles)[-1:]) if row[0] == close), None)
