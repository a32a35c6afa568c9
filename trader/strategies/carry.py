"""Hold many perpetuals for what holding them earns.

At each close the most liquid symbols are ranked by their carry; the best tenths are held long and the worst short, the
calmer ones more of, within limits that bind. A symbol that leaves the universe is sold.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal

import polars as pl

from trader.domain.account import MarginMode
from trader.domain.decision import Book, Forecast, Rebalance
from trader.domain.interval import Interval
from trader.errors import ModelError
from trader.forecast.carry import CarryForecaster
from trader.market.panel import TENTHS
from trader.portfolio.inverse_volatility import InverseVolatilityAllocator, Wish
from trader.portfolio.policy import TenthPolicy


@dataclass(frozen=True, slots=True)
class CarryStrategy:
    """A universe, one interval, a cross-section of carry; `leverage` is the exchange's setting, above the gross limit.

    `symbols` are all that may ever be held, empty for every one that is listed but those in `exclude`; which of them
    are held is decided at every close.
    """

    name: str
    symbols: tuple[str, ...]
    interval: Interval
    forecaster: CarryForecaster
    policy: TenthPolicy
    allocator: InverseVolatilityAllocator
    leverage: int
    margin_mode: MarginMode
    exclude: frozenset[str] = frozenset()

    def universe(self, listed: Collection[str]) -> tuple[str, ...]:
        """Return the symbols to be ranked at a close, of those that are traded then; sorted."""
        return tuple(sorted({*(self.symbols or listed)} - self.exclude))

    @property
    def least(self) -> int:
        """Closed candles a symbol may have at least: a young one has what it has lived, and is in no universe yet."""
        return 1

    @property
    def funded(self) -> bool:
        """Whether a forecast reads what funding came to in the last candle: it is made of it."""
        return True

    def share(self, listed: int) -> float:
        """Return the fraction of equity that each of a universe would have at the gross limit, were all held alike."""
        names = max(1, -(-listed * self.forecaster.tenths_kept // TENTHS))
        return min(self.allocator.cap, self.allocator.gross / names)

    @property
    def exposure(self) -> float:
        """Gross target notional over equity, at most."""
        return self.allocator.gross

    @property
    def capital(self) -> Decimal | None:
        """What targets are fractions of: the equity of the moment."""
        return None

    @property
    def rebalance(self) -> Rebalance:
        """When a side that does not change is traded: the allocator has its own buffer."""
        return "drift"

    @property
    def band(self) -> float:
        """Drift up to which an unchanged side is held: none beyond the allocator's buffer."""
        return 0.0

    @property
    def warmup(self) -> int:
        """Closed candles a forecast reads at most; a younger symbol has as many as it has lived."""
        return self.forecaster.warmup

    def forecast(self, candles: pl.DataFrame) -> pl.DataFrame:
        """Forecast every close of a candle frame that has its full history; columns as in `forecast.carry`."""
        return self.forecaster.forecast(candles)

    def targets(self, forecasts: Mapping[str, Forecast], book: Book) -> Mapping[str, float]:
        """Return the signed fractions of equity to reach, of every symbol that is to be traded.

        A symbol that is held and not forecast has left the universe and is sold; one that the exchange does not trade
        any more is given up at once. One of which nothing is known stays as it is and takes its part of the limits.

        Raises:
            ModelError: a forecast comes without its volatility and spread.
        """
        if book.equity <= 0:
            return {
                symbol: 0.0 for symbol, quantity in book.positions.items() if quantity and symbol not in book.unknown
            }
        weights = {
            symbol: float(quantity * book.prices[symbol] / book.equity)
            for symbol, quantity in book.positions.items()
            if quantity
        }
        held = {symbol: weight for symbol, weight in weights.items() if symbol not in book.unknown}
        gone = [symbol for symbol in held if not book.instruments[symbol].trading]
        open_to = {
            symbol: one
            for symbol, one in forecasts.items()
            if symbol not in book.unknown and book.instruments[symbol].trading
        }
        targets = self.policy.of(open_to)
        wishes = {symbol: _wish(open_to[symbol], target) for symbol, target in targets.items()}
        beside = [weight for symbol, weight in weights.items() if symbol not in held]
        return self.allocator.beside(beside).weights(wishes, held, gone)


def _wish(forecast: Forecast, target: float) -> Wish:
    if forecast.volatility is None or forecast.spread is None:
        raise ModelError("A forecast of a portfolio comes without its volatility or spread; forecast it again.")
    return Wish(target, forecast.volatility, forecast.spread)
