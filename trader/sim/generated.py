"""Make the generated markets, ADAUSDT by the hour and BTCUSDT by the half, from fixed seeds; nothing in them happened.

What they are, so that nobody mistakes a result on one for a finding:

* 46,056 hours from 2023-10-01T00:00Z to 2029-01-01T00:00Z, without gaps; play begins at 2024-01-01T00:00Z;
  prices are whole ticks (of 0.0001, of 0.1) and each open is the previous close.
* The shocks of bars are Student-t with 5 degrees of freedom, scaled by a GARCH(1,1) deviation (a = .06, b = .92,
  long-run 0.85 % an hour, 0.30 % a half): volatility comes in clusters and tails are fat.
* The log price is a random walk plus a stationary part that decays with a half-life of eight hours. Together they
  give 16h returns of ADAUSDT a first autocorrelation of about -0.06, its order of size: mild mean reversion.
* A slow drift (half-life ten days, at most a few basis points an hour) pushes the walk, and the funding rate every
  eight hours is 0.01 % plus a multiple of that drift plus noise, within +-0.375 %: longs pay when the trend is up.
* A weak pull towards 0.50 (50,000) USDT keeps the price in a plausible range for the whole length.

The stream comes from numpy's legacy ``RandomState``, whose numbers are frozen across releases.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from trader.sim.errors import StartError
from trader.sim.tape import Tape, tape_from_frames

SYMBOL = "ADAUSDT"
NAME = "generated"
HOUR = 3_600_000
FIRST = 1_696_118_400_000  # 2023-10-01T00:00Z
START = 1_704_067_200_000  # 2024-01-01T00:00Z
HOURS = 46_056


@dataclass(frozen=True, slots=True)
class Market:
    """What tells one generated market from another: bars an hour, ticks a USDT, deviation of a bar, and prices."""

    symbol: str
    seed: int
    an_hour: int
    ticks: int
    sigma: float
    begin: float
    centre: float
    volume: float

    @property
    def bar(self) -> int:
        """Give the length of a bar in milliseconds."""
        return HOUR // self.an_hour

    @property
    def bars(self) -> int:
        """Give how many there are."""
        return HOURS * self.an_hour


MARKETS = {
    one.symbol: one
    for one in (
        Market(SYMBOL, 20231001, 1, 10_000, 0.0085, 0.6, 0.5, 2.5e7),
        Market("BTCUSDT", 20231002, 2, 10, 0.0030, 42_000.0, 50_000.0, 6.0e3),
    )
}


def generated_tape(symbol: str = SYMBOL) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give (candles, funding) in the format of candle and funding files; the same frames on every call."""
    return _frames(symbol)


def load_generated(symbol: str | None = None) -> Tape:
    """Build the tape of a generated market; without a symbol that of the first."""
    if symbol is not None and symbol not in MARKETS:
        raise StartError(f"No market of {symbol} is generated; give a tape, or choose {' or '.join(MARKETS)}.", 2)
    candles, funding = _frames(symbol or SYMBOL)
    return tape_from_frames(candles, funding, name=NAME, funding_name=NAME, generated=True)


@lru_cache(maxsize=2)
def _frames(symbol: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    market = MARKETS[symbol]
    random = np.random.RandomState(market.seed)
    closes, deviations, drift = _path(random, market)
    closes = np.round(closes * market.ticks)
    opens = np.concatenate([[closes[0]], closes[:-1]])
    reach = deviations * 0.55
    high = np.maximum(opens, closes) * np.exp(np.abs(random.standard_normal(market.bars)) * reach)
    low = np.minimum(opens, closes) * np.exp(-np.abs(random.standard_normal(market.bars)) * reach)
    noise = np.exp(0.4 * random.standard_normal(market.bars))
    volume = np.round(market.volume * (deviations / market.sigma) ** 1.5 * noise)
    times = pl.Series(FIRST + market.bar * np.arange(market.bars, dtype=np.int64)).cast(pl.Datetime("ms", "UTC"))
    candles = pl.DataFrame(
        {
            "open_time": times,
            "symbol": [symbol] * market.bars,
            "open": opens / market.ticks,
            "high": np.maximum(np.round(high), np.maximum(opens, closes)) / market.ticks,
            "low": np.minimum(np.round(low), np.minimum(opens, closes)) / market.ticks,
            "close": closes / market.ticks,
            "volume": volume,
        }
    )
    return candles, _funding(random, drift, market)


def _path(random: np.random.RandomState, market: Market) -> tuple[Any, Any, Any]:
    """Walk the log price; gives closes, and deviations and drifts of a bar."""
    scale = math.sqrt(3 / 5)  # a t with 5 degrees of freedom has variance 5/3
    shocks = (random.standard_t(5, market.bars) * scale).tolist()
    swings = (random.standard_t(5, market.bars) * scale).tolist()
    slow = random.standard_normal(market.bars).tolist()
    keep_swing, keep_drift = 0.5 ** (1 / (8 * market.an_hour)), 0.5 ** (1 / (240 * market.an_hour))
    steepest, pull, own = 0.0002 / market.an_hour, 0.0003 / market.an_hour, market.sigma**2
    ratio = 1.5 * math.sqrt(1 - keep_swing**2)
    variance, drift, swing, walk = own, 0.0, 0.0, math.log(market.begin)
    centre = math.log(market.centre)
    logs, deviations, drifts = [], [], []
    for shock, turn, push in zip(shocks, swings, slow, strict=True):
        deviation = math.sqrt(variance)
        drift = keep_drift * drift + steepest * math.sqrt(1 - keep_drift**2) * push
        move = deviation * shock
        walk += drift + move + pull * (centre - walk)
        swing = keep_swing * swing + ratio * deviation * turn
        variance = 0.02 * own + 0.06 * min(move * move, 36 * variance) + 0.92 * variance
        logs.append(walk + swing)
        deviations.append(deviation)
        drifts.append(drift)
    return np.exp(np.array(logs)), np.array(deviations), np.array(drifts)


def _funding(random: np.random.RandomState, drift: Any, market: Market) -> pl.DataFrame:
    hours = np.arange(8, HOURS + 1, 8)
    noise = 0.00008 * random.standard_normal(hours.size)
    trend = 0.6 * market.an_hour * drift[hours * market.an_hour - 1]
    rates = np.round(np.clip(0.0001 + trend + noise, -0.00375, 0.00375), 8)
    stamps = pl.Series(FIRST + HOUR * hours.astype(np.int64)).cast(pl.Datetime("ms", "UTC"))
    return pl.DataFrame({"funding_time": stamps, "symbol": [market.symbol] * hours.size, "funding_rate": rates})
