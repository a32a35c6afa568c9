"""Forecast what holding each of many perpetuals earns in funding, against the others of its close.

At every close the most liquid tenths of all listed symbols are the universe. The carry of a symbol is what a long
received over the last candle; it is winsorised and standardised across the universe, and that score is the forecast.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trader.errors import DataError
from trader.forecast.features import significant
from trader.forecast.section import standardised, tenths, winsorised
from trader.forecast.volatility import blended_volatility, realised_volatility
from trader.market.candles import spacing
from trader.market.panel import TENTHS, Array, Mask, Panel, liquidity_tenths, panel_of
from trader.market.tables import TIME

_SYMBOLS = 12
_DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class Section:
    """Universe, score, tenth (1 to 10, else 0), volatility a candle and spread of every close: (closes, symbols)."""

    members: Mask
    score: Array
    tenth: NDArray[np.int64]
    volatility: Array
    spread: Array


@dataclass(frozen=True, slots=True)
class CarryForecaster:
    """Score the carry of the most liquid symbols; windows are in candles.

    `liquidity_window` is how long dollar volume is averaged over and `tenths_kept` how many tenths by it are the
    universe; a symbol younger than `least_history` candles is in none. `winsor` is the share of the universe brought in
    at either end. Volatility blends exponential averages of `spans` over the last `volatility_window` returns;
    `realised_window` is that of the plain one beside it.
    """

    liquidity_window: int = 30
    tenths_kept: int = 2
    least_history: int = 30
    winsor: float = 0.05
    spans: tuple[int, int] = (21, 90)
    volatility_window: int = 120
    realised_window: int = 30

    @property
    def warmup(self) -> int:
        """Return how many closed candles a forecast reads at most; a younger symbol has as many as it has lived."""
        return max(self.volatility_window + 1, self.liquidity_window, self.least_history, self.realised_window + 1)

    def forecast(self, candles: pl.DataFrame) -> pl.DataFrame:
        """Forecast at every close for the symbols of its universe, sorted by symbol and close.

        `candles` is a validated candle frame of many symbols with `funding_rate` (paid by longs). Columns: symbol,
        close_time, forecast (the score: positive earns more by being held than the universe does), confidence (0:
        nobody knows it), carry (what a long receives a year at this rate), tenth (of the score, 1 to 10), volatility
        and realised (standard deviation a candle, as forecast and as it was), spread ((high - low) / (high + low)). A
        row depends on the `warmup` candles up to its close and on nothing else, bit for bit. A close at which no carry
        differs from another has no rows.

        Raises:
            DataError: the frame knows no funding.
        """
        if "funding_rate" not in candles.columns:
            raise DataError(
                "Carry is funding, and these candles have none; give --funding, or candles with funding_rate."
            )
        panel = panel_of(candles, spacing(candles))
        found = self.section(panel)
        columns, rows = np.nonzero(found.members.T)

        def told(matrix: Array) -> Array:
            return significant(matrix[rows, columns])

        return pl.DataFrame(
            {
                "symbol": pl.Series(panel.symbols, dtype=pl.String).gather(columns),
                "close_time": pl.Series(panel.close_times[rows]).cast(TIME),
                "forecast": found.score[rows, columns],
                "confidence": np.zeros(len(rows)),
                "carry": told(panel.paid.carry * panel.interval.per_year),
                "tenth": found.tenth[rows, columns],
                "volatility": told(found.volatility),
                "realised": told(realised_volatility(panel.returns(), found.members, self.realised_window)),
                "spread": told(found.spread),
            }
        )

    def signature(self) -> str:
        """Return what tells one code of these settings from another: a digest of its answer to a fixed panel."""
        length = max(self.warmup, self.least_history + 1)
        rows = [(symbol, row) for symbol in range(_SYMBOLS) for row in range(length)]
        close = pl.Series([100.0 + (row * 7 + symbol * 13) % (11 + symbol) for symbol, row in rows])
        opens = pl.Series([row * _DAY for _, row in rows], dtype=pl.Int64).cast(TIME)
        panel = pl.DataFrame(
            {
                "symbol": [f"S{symbol:02}" for symbol, _ in rows],
                "open_time": opens,
                "close_time": (opens.cast(pl.Int64) + _DAY).cast(TIME),
                "open": close,
                "high": close * 1.01,
                "low": close * 0.99,
                "close": close,
                "volume": [float(1000 + symbol * 100) for symbol, _ in rows],
                "funding_rate": [((row * 3 + symbol * 5) % 7 - 3) / 10_000 for symbol, row in rows],
            }
        )
        told = self.forecast(panel).select("symbol", "close_time", "forecast", "volatility", "spread")
        return hashlib.sha256(repr(told.rows()).encode()).hexdigest()

    def section(self, panel: Panel) -> Section:
        """Score every close of a panel at once; `forecast` lists what this lays side by side."""
        return self.scored(panel, self.universe(panel))

    def scored(self, panel: Panel, universe: Mask) -> Section:
        """Score those who may be held; a panel without whoever never may is scored the same, bit for bit."""
        members = universe.copy()
        score = standardised(winsorised(panel.paid.carry, members, self.winsor), members)
        members &= np.isfinite(score)
        rounded = np.full(score.shape, np.nan)
        rounded[members] = significant(score[members])
        spread = panel.high - panel.low
        spread /= panel.high + panel.low
        return Section(
            members=members,
            score=rounded,
            tenth=tenths(rounded, members),
            volatility=blended_volatility(panel.returns(), members, self.spans, self.volatility_window),
            spread=spread,
        )

    def universe(self, panel: Panel) -> Mask:
        """Return which symbols may be held from each close on: liquid and old enough, with funding that is known."""
        liquid = liquidity_tenths(panel, self.liquidity_window, self.least_history) > TENTHS - self.tenths_kept
        # a first candle has no return to measure
        seasoned = np.cumsum(panel.listed, axis=0, dtype=np.int32) >= max(self.least_history, 2)
        return liquid & seasoned & np.isfinite(panel.paid.rates)
