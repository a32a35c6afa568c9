"""Strategies that need no model: made for tests of the decision and of the backtest."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

import polars as pl

from trader.domain.account import MarginMode
from trader.domain.decision import Book, Forecast, Rebalance
from trader.domain.interval import Interval

SIXTEEN_HOURS = Interval.parse("16h")


def nothing(candles: pl.DataFrame) -> pl.DataFrame:
    raise AssertionError("this strategy is handed its forecasts")


@dataclass(frozen=True)
class Follower:
    """Hold `exposure` of the equity in the forecast's direction, split over the symbols; zero holds nothing.

    `forecaster` returns symbol, close_time, forecast and confidence for every close of a candle frame.
    """

    symbols: tuple[str, ...]
    exposure: float = 0.5
    leverage: int = 2
    band: float = 0.0
    interval: Interval = SIXTEEN_HOURS
    forecaster: Callable[[pl.DataFrame], pl.DataFrame] = nothing
    warmup: int = 2
    least: int | None = None
    margin_mode: MarginMode = "isolated"
    name: str = "follower"
    capital: Decimal | None = None
    rebalance: Rebalance = "drift"

    def forecast(self, candles: pl.DataFrame) -> pl.DataFrame:
        return self.forecaster(candles)

    def targets(self, forecasts: Mapping[str, Forecast], book: Book) -> Mapping[str, float]:
        share = self.exposure / len(self.symbols)
        signs = {symbol: (forecast.value > 0) - (forecast.value < 0) for symbol, forecast in forecasts.items()}
        return {symbol: sign * share for symbol, sign in signs.items()}


def momentum(candles: pl.DataFrame) -> pl.DataFrame:
    """Forecast the last return again."""
    last = (pl.col("close") / pl.col("close").shift(1)).log().over("symbol")
    return candles.select("symbol", "close_time", last.alias("forecast"), pl.lit(0.0).alias("confidence")).drop_nulls()
