"""A strategy that changes sides at every close, so that an order too many or too few is visible in the position."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import polars as pl

from tests.proof.market import BASKET, FIRST, INTERVAL, SYMBOL, turn
from trader.domain.account import MarginMode
from trader.domain.decision import Book, Forecast, Rebalance
from trader.domain.interval import Interval


@dataclass(frozen=True)
class Flipping:
    """Forecasts up and down in turns; implements `decide.Strategy`.

    Without symbols of its own it trades all that are listed, one up where the next is down, as a basket.
    """

    symbols: tuple[str, ...] = (SYMBOL,)
    interval: Interval = INTERVAL
    name: str = "flipping"
    warmup: int = 2
    least: int = 2
    funded: bool = False
    exposure: float = 0.5
    leverage: int = 2
    margin_mode: MarginMode = "isolated"
    band: float = 0.25
    capital: Decimal | None = None
    rebalance: Rebalance = "drift"

    def universe(self, listed: Collection[str]) -> tuple[str, ...]:
        return self.symbols or tuple(sorted(listed))

    def share(self, listed: int) -> float:
        return self.exposure / (len(self.symbols) or len(BASKET))

    def wish(self, close: datetime, symbol: str) -> float:
        """Return the side of a symbol at a close, +1 or -1."""
        return 1.0 if ((close - FIRST) // INTERVAL.delta + turn(symbol)) % 2 == 0 else -1.0

    def forecast(self, candles: pl.DataFrame) -> pl.DataFrame:
        rows = candles.select("symbol", "close_time").rows()
        values = [self.wish(close, symbol) for symbol, close in rows]
        return pl.DataFrame(
            {"symbol": [row[0] for row in rows], "close_time": candles["close_time"], "forecast": values}
        ).with_columns(confidence=pl.lit(1.0))

    def targets(self, forecasts: Mapping[str, Forecast], book: Book) -> Mapping[str, float]:
        return {symbol: self.share(len(BASKET)) * forecast.value for symbol, forecast in forecasts.items()}


@dataclass(frozen=True)
class Growing(Flipping):
    """Holds half of it at first and adds the other half at the next close, so that a stop has to move; then flips."""

    def wish(self, close: datetime, symbol: str) -> float:
        passed = (close - FIRST) // INTERVAL.delta
        return 0.5 if passed <= 0 else 1.0 if passed % 2 else -1.0
