"""Tapes and a backtest over them, for comparing the backtest with the third ledger."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl

from tests.parity.third_ledger import replay
from tests.unit.execution_world import SYMBOL, TABLE, instrument, limits
from tests.unit.strategies_at_hand import Follower
from trader.domain.decision import Limits
from trader.execution.fills import Costs
from trader.market.candles import parse_candles, spacing
from trader.market.funding import parse_funding
from trader.research.backtest import Backtest, Terms, run_backtest

START = datetime(2024, 1, 1, tzinfo=UTC)
TIERS = [(Decimal(cap), Decimal(rate), Decimal(amount)) for cap, _, rate, amount in TABLE]
COSTS = Costs(fee=Decimal("0.0005"), slippage=Decimal("0.0001"), spread=Decimal("0.0002"))


@dataclass(frozen=True)
class Market:
    """The raw files of one symbol, and the tick of its prices."""

    candles: Path
    funding: Path | None
    tick: Decimal


def random_walk(folder: Path, seed: int, bars: int, *, volatility: float = 0.012) -> Market:
    """Hourly bars with fat tails, gaps between them, and funding every eight hours, sometimes late within its hour."""
    chance = np.random.default_rng(seed)
    moves = chance.standard_t(4, size=(bars, 2)) * volatility / np.sqrt(2)
    gaps = chance.standard_t(4, size=bars) * volatility / 5
    close = 0.5 * np.exp(np.cumsum(moves.sum(axis=1) + gaps))
    opened = close / np.exp(moves.sum(axis=1))
    reach = np.abs(chance.standard_t(4, size=(bars, 2))) * volatility / 2
    high = np.maximum(opened, close) * (1 + reach[:, 0])
    low = np.minimum(opened, close) * (1 - reach[:, 1].clip(max=0.5))
    rounded = {
        name: np.round(prices, 4) for name, prices in (("open", opened), ("high", high), ("low", low), ("close", close))
    }
    times = pl.Series("open_time", [START + timedelta(hours=row) for row in range(bars)], pl.Datetime("ms", "UTC"))
    pl.DataFrame({"open_time": times, **rounded, "volume": 1.0}).write_parquet(folder / f"{SYMBOL}_1h.parquet")
    late = chance.choice([0, 0, 7, 1_800_000], size=bars // 8)
    stamps = [START + timedelta(hours=8 * row, milliseconds=int(wait)) for row, wait in enumerate(late)]
    rates = pl.DataFrame(
        {"funding_time": stamps, "funding_rate": np.round(chance.normal(1e-4, 8e-4, size=len(stamps)), 8)},
        schema_overrides={"funding_time": pl.Datetime("ms", "UTC")},
    )
    rates.write_parquet(folder / f"{SYMBOL}_funding.parquet")
    return Market(folder / f"{SYMBOL}_1h.parquet", folder / f"{SYMBOL}_funding.parquet", Decimal("0.0001"))


def baskets(folder: Path, seed: int, symbols: Sequence[str], bars: int, *, volatility: float) -> tuple[Path, Path]:
    """Write hourly bars and funding of many symbols and return both files.

    Every third symbol begins late, every fourth ends early; funding comes every eight, four or one hours.
    """
    frames, rates = [], []
    for number, symbol in enumerate(symbols):
        market = random_walk(folder, seed * 100 + number, bars, volatility=volatility)
        first, last = (bars // 4 if number % 3 == 2 else 0), (bars * 3 // 4 if number % 4 == 3 else bars)
        frames.append(pl.read_parquet(market.candles)[first:last].with_columns(symbol=pl.lit(symbol)))
        chance, apart = np.random.default_rng(seed * 100 + number), (8, 4, 1)[number % 3]
        stamps = [START + timedelta(hours=hour) for hour in range(0, bars, apart)]
        paid = np.round(chance.normal(1e-4, 8e-4, size=len(stamps)), 8)
        rates.append(pl.DataFrame({"symbol": symbol, "funding_time": stamps, "funding_rate": paid}))
    candles, funding = folder / "basket_1h.parquet", folder / "basket_funding.parquet"
    pl.concat(frames).write_parquet(candles)
    pl.concat(rates).with_columns(pl.col("funding_time").dt.cast_time_unit("ms")).write_parquet(funding)
    return candles, funding


def backtest(market: Market, strategy: Follower, *, under: Limits | None = None, **window: object) -> Backtest:
    """Run the backtest from 10,000 USDT."""
    candles = parse_candles(market.candles.read_bytes(), market.candles.name)
    funding = None
    if market.funding is not None:
        funding = parse_funding(market.funding.read_bytes(), market.funding.name)
    terms = replace(Terms(Decimal(10_000), COSTS, under or limits()), **window)  # type: ignore[arg-type]
    rules = {SYMBOL: instrument(tick=str(market.tick), max_quantity="1e9")}
    return run_backtest(strategy, candles, spacing(candles), funding, rules, terms)


def told_by_the_backtest(result: Backtest) -> list[tuple[Decimal, Decimal]]:
    return [(report.positions[SYMBOL], report.equity) for report in result.closes]


def told_by_the_third_ledger(
    market: Market, leverage: int, held: Sequence[tuple[datetime, Decimal]], *, reopen: bool = False
) -> list[tuple[Decimal, Decimal]]:
    return replay(
        market.candles,
        market.funding,
        held,
        equity=Decimal(10_000),
        fee=COSTS.fee,
        slippage=COSTS.slippage,
        spread=COSTS.spread,
        leverage=leverage,
        tick=market.tick,
        brackets=TIERS,
        reopen=reopen,
    )


def require_parity(market: Market, strategy: Follower, result: Backtest) -> None:
    """Check that position and equity of every close are the third ledger's, to the last digit."""
    held = [(report.close, report.positions[SYMBOL]) for report in result.closes]
    theirs = told_by_the_third_ledger(market, strategy.leverage, held, reopen=strategy.rebalance == "every_close")
    assert len(theirs) == len(result.closes)
    for report, ours, other in zip(result.closes, told_by_the_backtest(result), theirs, strict=True):
        assert ours == other, f"at {report.close}: {report.why}"
