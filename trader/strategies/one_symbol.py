"""What strategies of one symbol and one forecaster have in common."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

import polars as pl

from trader.domain.account import MarginMode
from trader.domain.decision import Book, Forecast, Rebalance
from trader.domain.interval import Interval
from trader.portfolio.allocator import ExposureAllocator
from trader.portfolio.policy import Policy


class Forecaster(Protocol):
    """Whatever forecasts a candle frame."""

    @property
    def warmup(self) -> int:
        """Closed candles needed before a row may be trusted."""
        ...

    def forecast(self, candles: pl.DataFrame) -> pl.DataFrame:
        """Forecast every close that has its history: [symbol, close_time, forecast, confidence]."""
        ...


@dataclass(frozen=True, slots=True)
class OneSymbol:
    """One symbol, one interval, one forecaster; `leverage` is the exchange's setting, above the exposure."""

    name: str
    symbol: str
    interval: Interval
    forecaster: Forecaster
    policy: Policy
    allocator: ExposureAllocator
    band: float
    leverage: int
    margin_mode: MarginMode
    rebalance: Rebalance = "drift"

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols it trades."""
        return (self.symbol,)

    def universe(self, listed: Collection[str]) -> tuple[str, ...]:
        """Return its symbol, whatever is listed."""
        return (self.symbol,)

    @property
    def least(self) -> None:
        """Closed candles its symbol may have at least: it must have all that a forecast reads."""
        return None

    @property
    def funded(self) -> bool:
        """Whether a forecast reads funding: none does."""
        return False

    def share(self, listed: int) -> float:
        """Return the fraction of its money that its symbol has, however many are listed."""
        return self.allocator.weights({self.symbol: 1.0})[self.symbol]

    @property
    def exposure(self) -> float:
        """Gross target notional over equity."""
        return self.allocator.exposure

    @property
    def capital(self) -> Decimal | None:
        """What targets are fractions of where sizing is constant; None where it is the equity of the moment."""
        return self.allocator.capital

    @property
    def warmup(self) -> int:
        """Closed candles needed before a forecast may be trusted."""
        return self.forecaster.warmup

    def forecast(self, candles: pl.DataFrame) -> pl.DataFrame:
        """Forecast every close of a candle frame that has its full history; columns as in `forecast.linear`."""
        return self.forecaster.forecast(candles)

    def targets(self, forecasts: Mapping[str, Forecast], book: Book) -> Mapping[str, float]:
        """Return the wished signed fraction of equity, or of the capital."""
        held = book.positions.get(self.symbol, 0)
        direction = self.policy.direction(forecasts[self.symbol], (held > 0) - (held < 0))
        return self.allocator.weights({self.symbol: direction})
