"""Markets of many perpetuals for the tests of portfolios: some listed late, some delisted, funding that differs."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import polars as pl

from tests.unit.execution_world import flat_bracket, instrument, limits
from trader.domain.instrument import Instrument
from trader.domain.interval import Interval
from trader.execution.fills import Costs
from trader.forecast.carry import CarryForecaster
from trader.market.candles import with_close
from trader.portfolio.inverse_volatility import InverseVolatilityAllocator
from trader.portfolio.policy import TenthPolicy
from trader.research.backtest import Backtest, Terms, run_backtest
from trader.strategies.carry import CarryStrategy

DAY = Interval.parse("1d")
START = datetime(2023, 1, 1, tzinfo=UTC)
COSTS = Costs(fee=Decimal("0.0005"), slippage=Decimal("0.0001"), spread=Decimal("0.0002"))
SMALL = CarryForecaster(
    liquidity_window=5, tenths_kept=6, least_history=4, spans=(3, 8), volatility_window=12, realised_window=5
)


def names(count: int) -> list[str]:
    return [f"S{number:02}USDT" for number in range(count)]


def perpetuals(seed: int, count: int, days: int) -> pl.DataFrame:
    """Daily candles with quote volume and funding; a third of the symbols begins late and a fourth ends early."""
    chance = np.random.default_rng(seed)
    frames = []
    for number, symbol in enumerate(names(count)):
        first = int(chance.integers(0, days // 2)) if number % 3 == 2 else 0
        last = int(chance.integers(days // 2 + 1, days)) if number % 4 == 3 else days
        length = last - first
        moves = chance.standard_t(4, size=length) * chance.uniform(0.005, 0.04)
        close = 10 * np.exp(np.cumsum(moves))
        opened = np.concatenate([[10.0], close[:-1]])
        reach = 1 + np.abs(chance.normal(0, 0.01, size=(2, length)))
        frames.append(
            pl.DataFrame(
                {
                    "symbol": symbol,
                    "open_time": [START + timedelta(days=first + day) for day in range(length)],
                    "open": np.round(opened, 4),
                    "high": np.round(np.maximum(opened, close) * reach[0], 4),
                    "low": np.round(np.minimum(opened, close) / reach[1], 4),
                    "close": np.round(close, 4),
                    "volume": 1.0,
                    "quote_volume": np.exp(chance.normal(10, 1, size=length)),
                    "funding_rate": np.round(chance.normal(0.0003, 0.001, size=length), 6),
                },
                schema_overrides={"open_time": pl.Datetime("ms", "UTC")},
            )
        )
    return with_close(pl.concat(frames), DAY)


def rules(candles: pl.DataFrame) -> Mapping[str, Instrument]:
    """Fine steps, so that rounding is small against what is held."""
    fine = {"step": "0.001", "min_quantity": "0.001", "brackets": flat_bracket("0.005")}
    return {symbol: instrument(symbol, **fine) for symbol in candles["symbol"].unique().sort()}


def allocator(**given: float | None) -> InverseVolatilityAllocator:
    return InverseVolatilityAllocator(DAY.per_year, **given)  # type: ignore[arg-type]


def carry(candles: pl.DataFrame, policy: TenthPolicy | None = None, **given: float | None) -> CarryStrategy:
    """A carry strategy over every symbol of a candle frame, with windows that fit a short history."""
    symbols = tuple(candles["symbol"].unique().sort())
    return CarryStrategy(
        "carry", symbols, DAY, SMALL, policy or TenthPolicy(), allocator(**given), leverage=5, margin_mode="cross"
    )


def backtest(candles: pl.DataFrame, strategy: CarryStrategy, *, first_day: int = 10, costs: Costs = COSTS) -> Backtest:
    terms = Terms(Decimal(10_000), costs, limits(), start=START + timedelta(days=first_day))
    return run_backtest(strategy, candles, DAY, None, rules(candles), terms)
