"""One decision, nothing sent and nothing journalled."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from trader.app import current, tapes, venues
from trader.app.assembly import only_symbol
from trader.app.instruments import instruments_of, rules_of
from trader.app.portfolios import read_market
from trader.app.strategies import Loaded, limits, load_strategy
from trader.app.tapes import TapeChoice
from trader.config import Settings
from trader.decide import Strategy, decide
from trader.domain.decision import Book, Decision, State
from trader.domain.order import client_id
from trader.domain.wording import money, stamp
from trader.errors import ConfigError, DataError
from trader.live.market import Lookout
from trader.live.record import last_forecasts
from trader.market.candles import spacing
from trader.market.resample import resample
from trader.research.dataset import read_candles


def decide_once(settings: Settings, candles: Path | None, close: datetime | None) -> dict[str, Any]:
    """Decide one close: of a candle file with a flat imagined book, else of the exchange with the account's own.

    Args:
        settings: the strategy, and the equity of an imagined book.
        candles: a candle file; without one the exchange of the settings is asked.
        close: which close; the newest one without it.

    Raises:
        DataError: there is no such close, or no forecast at it.
    """
    loaded = load_strategy(settings)
    if candles is None:
        if settings.venue == "sim" and current.recall(settings.data_dir) is None:
            raise ConfigError(
                "Nothing has run yet, so no exchange can be asked; give --candles, or `trader run` first."
            )
        return asyncio.run(_on_exchange(settings, loaded, close))
    frame = _bars(loaded.strategy, candles)
    bars = resample(frame, spacing(frame), loaded.strategy.interval)
    newest = bars["close_time"].max()
    at = close or newest
    if at is None:
        raise DataError(f"{candles.name} makes not one whole {loaded.strategy.interval} candle; give a longer history.")
    if not isinstance(at, datetime) or not loaded.strategy.interval.is_close(at):
        raise DataError(f"{at!s} is no close of {loaded.strategy.interval}; give one on the grid with --close.")
    last = bars.filter(pl.col("close_time") <= at)
    prices = {symbol: Decimal(repr(price)) for symbol, price in _last_prices(frame, at).items()}
    choice, symbol = TapeChoice(candles), only_symbol(loaded.strategy)
    rules = rules_of(choice, list(prices)) if symbol is None else instruments_of(choice, symbol)[0]
    book = Book(
        equity=settings.sim.equity,
        peak_equity=settings.sim.equity,
        positions={},
        prices=prices,
        instruments=rules,
        state=State.ACTIVE,
    )
    return _document(settings, loaded, _decide(settings, loaded, last, book, at), book)


def _bars(strategy: Strategy, candles: Path) -> pl.DataFrame:
    """Read the candles a strategy is about; of many symbols those that can be used."""
    if strategy.symbols:
        return read_candles(candles, only_symbol(strategy))
    bars = read_market(TapeChoice(candles), strategy.interval).candles
    return bars.filter(pl.col("symbol").is_in(strategy.universe(bars["symbol"].unique().to_list())))


async def _on_exchange(settings: Settings, loaded: Loaded, close: datetime | None) -> dict[str, Any]:
    """Decide on what the exchange says now; an embedded one must have run before."""
    asked = settings
    settings, tape = tapes.again(settings)
    ran = load_strategy(settings)
    if "strategy" not in asked.model_fields_set:
        loaded = ran
    home = venues.folder(settings, tape, ran.strategy.name)
    strategy = loaded.strategy
    async with AsyncExitStack() as stack:
        running = venues.runs(home)
        venue = await venues.open_venue(settings, tape, home, strategy.interval, None, stack, running=running)
        gateway = venue.gateway
        with venue.clock.working():
            await gateway.sync_clock()
            at = close or strategy.interval.floor(venue.clock.now())
            lookout = Lookout(strategy, gateway, venue.clock)
            market = await lookout.look(at)
            account = await gateway.account()
            forecasts = last_forecasts(strategy.forecast(market.candles), at)
            market, prices = await lookout.quoted(market, account, forecasts)
            book = Book(
                equity=account.equity,
                peak_equity=account.equity,
                positions={symbol: account.quantity(symbol) for symbol in prices},
                prices=prices,
                instruments=market.rules,
                state=State.ACTIVE,
                unknown=market.unknown,
                unrealised={symbol: one.unrealised for symbol, one in account.positions.items()},
            )
    return _document(settings, loaded, _decide(settings, loaded, market.candles, book, at), book)


def _decide(settings: Settings, loaded: Loaded, candles: pl.DataFrame, book: Book, close: datetime) -> Decision:
    forecasts = last_forecasts(loaded.strategy.forecast(candles), close)
    return decide(loaded.strategy, close, forecasts, book, limits(settings, loaded))


def _last_prices(frame: pl.DataFrame, close: datetime) -> dict[str, float]:
    """Return the first price after a close: the open of the bar that begins there, else the last close before it."""
    after = frame.filter(pl.col("open_time") == close).select("symbol", "open")
    before = frame.filter(pl.col("close_time") == close).select("symbol", "close")
    return dict(before.iter_rows()) | dict(after.iter_rows())


def _document(settings: Settings, loaded: Loaded, decision: Decision, book: Book) -> dict[str, Any]:
    instance = f"{settings.venue}/decide/{loaded.strategy.name}"
    forecasts, held = decision.forecasts, book.positions
    told: dict[str, Mapping[str, Any]] = {
        "forecast": {symbol: one.value for symbol, one in forecasts.items()},
        "confidence": {symbol: one.confidence for symbol, one in forecasts.items()},
        "target": decision.targets,
        "price": {symbol: money(price) for symbol, price in book.prices.items()},
        "position": {symbol: money(held.get(symbol, Decimal(0))) for symbol in {**forecasts, **held}},
        "reaches": {symbol: money(decision.quantities.get(symbol, Decimal(0))) for symbol in {**forecasts, **held}},
    }
    only = only_symbol(loaded.strategy)
    return {
        "close": stamp(decision.close),
        "strategy": loaded.strategy.name,
        **(told if only is None else {name: found[only] for name, found in told.items()}),
        "equity": money(book.equity),
        "unknown": dict(book.unknown),
        "orders": [
            {
                "client_id": client_id(instance, decision.close, leg.symbol, leg.kind, number),
                "symbol": leg.symbol,
                "side": "BUY" if leg.quantity > 0 else "SELL",
                "quantity": money(abs(leg.quantity)),
                "reduce_only": leg.reduce_only,
            }
            for number, leg in enumerate(decision.legs)
        ],
        "refused": [{"guard": refusal.guard, "reason": refusal.reason} for refusal in decision.refusals],
        "state": decision.state.value,
        "why": decision.why,
        "simulated": settings.venue == "sim",
    }
