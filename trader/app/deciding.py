"""One decision, nothing sent and nothing journalled."""

import asyncio
from contextlib import AsyncExitStack
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from trader.app import current, tapes, venues
from trader.app.instruments import instruments_of
from trader.app.strategies import Loaded, limits, load_strategy
from trader.app.tapes import TapeChoice
from trader.config import Settings
from trader.decide import decide
from trader.domain.decision import Book, Decision, State
from trader.domain.order import client_id
from trader.domain.wording import money, stamp
from trader.errors import ConfigError, DataError
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
    frame = read_candles(candles, loaded.strategy.symbols[0])
    bars = resample(frame, spacing(frame), loaded.strategy.interval)
    newest = bars["close_time"].max()
    at = close or newest
    if at is None:
        raise DataError(f"{candles.name} makes not one whole {loaded.strategy.interval} candle; give a longer history.")
    if not isinstance(at, datetime) or not loaded.strategy.interval.is_close(at):
        raise DataError(f"{at!s} is no close of {loaded.strategy.interval}; give one on the grid with --close.")
    last = bars.filter(pl.col("close_time") <= at)
    prices = {symbol: Decimal(repr(price)) for symbol, price in _last_prices(frame, at).items()}
    book = Book(
        equity=settings.sim.equity,
        peak_equity=settings.sim.equity,
        positions={},
        prices=prices,
        instruments=instruments_of(TapeChoice(candles), loaded.strategy.symbols[0])[0],
        state=State.ACTIVE,
    )
    return _document(settings, loaded, _decide(settings, loaded, last, book, at), book)


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
            frame = await gateway.candles(strategy.symbols, strategy.interval, strategy.warmup)
            account = await gateway.account()
            book = Book(
                equity=account.equity,
                peak_equity=account.equity,
                positions={symbol: account.quantity(symbol) for symbol in strategy.symbols},
                prices=await gateway.prices(strategy.symbols),
                instruments=await gateway.instruments(strategy.symbols),
                state=State.ACTIVE,
            )
    return _document(settings, loaded, _decide(settings, loaded, frame, book, at), book)


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
    symbol = loaded.strategy.symbols[0]
    return {
        "close": stamp(decision.close),
        "strategy": loaded.strategy.name,
        "forecast": decision.forecasts[symbol].value,
        "confidence": decision.forecasts[symbol].confidence,
        "target": decision.targets[symbol],
        "price": money(book.prices[symbol]),
        "equity": money(book.equity),
        "position": money(book.positions.get(symbol, Decimal(0))),
        "reaches": money(decision.quantities.get(symbol, Decimal(0))),
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
