"""Make the generated market: ADAUSDT, 1h candles, from a fixed seed; nothing in it ever happened.

What it is, so that nobody mistakes a result on it for a finding:

* 46,056 hours from 2023-10-01T00:00Z to 2029-01-01T00:00Z, without gaps; play begins at 2024-01-01T00:00Z;
  prices are whole ticks of 0.0001 and each open is the previous close.
* Hourly shocks are Student-t with 5 degrees of freedom, scaled by a GARCH(1,1) deviation (a = .06, b = .92,
  long-run 0.85 % an hour): volatility comes in clusters and tails are fat.
* The log price is a random walk plus a stationary part that decays with a half-life of eight hours. Together they
  give 16h returns a first autocorrelation of about -0.06, ADA's order of size: mild mean reversion.
* A slow drift (half-life ten days, at most a few basis points an hour) pushes the walk, and the funding rate every
  eight hours is 0.01 % plus a multiple of that drift plus noise, within +-0.375 %: longs pay when the trend is up.
* A weak pull towards 0.50 USDT keeps the price in a plausible range for the whole length.

The stream comes from numpy's legacy ``RandomState``, whose numbers are frozen across releases.
"""

import math
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from trader.sim.tape import Tape, tape_from_frames

SYMBOL = "ADAUSDT"
NAME = "generated"
HOUR = 3_600_000
FIRST = 1_696_118_400_000  # 2023-10-01T00:00Z
START = 1_704_067_200_000  # 2024-01-01T00:00Z
HOURS = 46_056
_SEED = 20231001
_TICK = 10_000
_SIGMA = 0.0085


def generated_tape() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give (candles, funding) in the format of candle and funding files; the same frames on every call."""
    return _frames()


def load_generated() -> Tape:
    """Build the tape of the generated market."""
    candles, funding = _frames()
    return tape_from_frames(candles, funding, name=NAME, funding_name=NAME, generated=True)


@lru_cache(maxsize=1)
def _frames() -> tuple[pl.DataFrame, pl.DataFrame]:
    random = np.random.RandomState(_SEED)
    closes, deviations, drift = _path(random)
    closes = np.round(closes * _TICK)
    opens = np.concatenate([[closes[0]], closes[:-1]])
    reach = deviations * 0.55
    high = np.maximum(opens, closes) * np.exp(np.abs(random.standard_normal(HOURS)) * reach)
    low = np.minimum(opens, closes) * np.exp(-np.abs(random.standard_normal(HOURS)) * reach)
    volume = np.round(2.5e7 * (deviations / _SIGMA) ** 1.5 * np.exp(0.4 * random.standard_normal(HOURS)))
    times = pl.Series(FIRST + HOUR * np.arange(HOURS, dtype=np.int64)).cast(pl.Datetime("ms", "UTC"))
    candles = pl.DataFrame(
        {
            "open_time": times,
            "symbol": [SYMBOL] * HOURS,
            "open": opens / _TICK,
            "high": np.maximum(np.round(high), np.maximum(opens, closes)) / _TICK,
            "low": np.minimum(np.round(low), np.minimum(opens, closes)) / _TICK,
            "close": closes / _TICK,
            "volume": volume,
        }
    )
    return candles, _funding(random, drift)


def _path(random: np.random.RandomState) -> tuple[Any, Any, Any]:
    """Walk the log price; gives closes, hourly deviations and drifts."""
    scale = math.sqrt(3 / 5)  # a t with 5 degrees of freedom has variance 5/3
    shocks = (random.standard_t(5, HOURS) * scale).tolist()
    swings = (random.standard_t(5, HOURS) * scale).tolist()
    slow = random.standard_normal(HOURS).tolist()
    keep_swing, keep_drift = 0.5 ** (1 / 8), 0.5 ** (1 / 240)
    ratio = 1.5 * math.sqrt(1 - keep_swing**2)
    variance, drift, swing, walk = _SIGMA**2, 0.0, 0.0, math.log(0.6)
    centre = math.log(0.5)
    logs, deviations, drifts = [], [], []
    for shock, turn, push in zip(shocks, swings, slow, strict=True):
        deviation = math.sqrt(variance)
        drift = keep_drift * drift + 0.0002 * math.sqrt(1 - keep_drift**2) * push
        move = deviation * shock
        walk += drift + move + 0.0003 * (centre - walk)
        swing = keep_swing * swing + ratio * deviation * turn
        variance = 0.02 * _SIGMA**2 + 0.06 * min(move * move, 36 * variance) + 0.92 * variance
        logs.append(walk + swing)
        deviations.append(deviation)
        drifts.append(drift)
    return np.exp(np.array(logs)), np.array(deviations), np.array(drifts)


def _funding(random: np.random.RandomState, drift: Any) -> pl.DataFrame:
    hours = np.arange(8, HOURS + 1, 8)
    noise = 0.00008 * random.standard_normal(hours.size)
    rates = np.round(np.clip(0.0001 + 0.6 * drift[hours - 1] + noise, -0.00375, 0.00375), 8)
    stamps = pl.Series(FIRST + HOUR * hours.astype(np.int64)).cast(pl.Datetime("ms", "UTC"))
    return pl.DataFrame({"funding_time": stamps, "symbol": [SYMBOL] * hours.size, "funding_rate": rates})
