"""The one pure step both worlds call: what was known at the close, and what we hold, to what we shall hold."""

from collections.abc import Collection, Mapping
from datetime import datetime
from decimal import Decimal
from math import isfinite
from typing import Protocol

import polars as pl

from trader.domain.account import MarginMode
from trader.domain.decision import Book, Decision, Forecast, Leg, Limits, Margin, Rebalance, Refusal, State
from trader.domain.interval import Interval
from trader.errors import ModelError
from trader.execution import guards
from trader.execution.plan import plan


class Strategy(Protocol):
    """Everything the two callers need to know of a strategy."""

    @property
    def name(self) -> str:
        """What it is called in journals and orders."""
        ...

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols it trades; empty where every close has a universe of its own."""
        ...

    def universe(self, listed: Collection[str]) -> tuple[str, ...]:
        """Return the symbols one close is about, of those that are traded then; sorted."""
        ...

    @property
    def interval(self) -> Interval:
        """The length of its candles; it decides at every close of one."""
        ...

    @property
    def warmup(self) -> int:
        """Closed candles needed before a forecast may be trusted."""
        ...

    @property
    def least(self) -> int | None:
        """Closed candles a symbol may have at least; None where each must have the whole warm-up."""
        ...

    @property
    def funded(self) -> bool:
        """Whether a forecast reads what funding came to in the last candle."""
        ...

    def share(self, listed: int) -> float:
        """Return the fraction of its money one symbol has where all it would hold of so many have the same."""
        ...

    @property
    def exposure(self) -> float:
        """Gross target notional over equity."""
        ...

    @property
    def capital(self) -> Decimal | None:
        """What targets are fractions of, in USDT, where sizing is constant; None: the equity of the moment."""
        ...

    @property
    def rebalance(self) -> Rebalance:
        """When a side that does not change is traded."""
        ...

    @property
    def leverage(self) -> int:
        """The exchange's leverage setting, above the exposure."""
        ...

    @property
    def margin_mode(self) -> MarginMode:
        """The exchange's margin setting."""
        ...

    @property
    def band(self) -> float:
        """Drift, as a fraction of the wished quantity, up to which an unchanged side is held."""
        ...

    def forecast(self, candles: pl.DataFrame) -> pl.DataFrame:
        """Forecast every close of a candle frame that has its full history; causal, whole history at once."""
        ...

    def targets(self, forecasts: Mapping[str, Forecast], book: Book) -> Mapping[str, float]:
        """Return the wished signed fractions of equity, or of the capital."""
        ...


def decide(
    strategy: Strategy, close: datetime, forecasts: Mapping[str, Forecast], book: Book, limits: Limits
) -> Decision:
    """Decide one close.

    A drawdown or a day's loss at its limit flattens everything and halts, whatever the forecast says. A halted daemon
    sends nothing; a reducing one sends only what makes a position smaller.

    Args:
        strategy: turns forecasts into wished fractions of equity.
        close: the candle close decided on, aware UTC.
        forecasts: by symbol, made from candles closed at or before `close`.
        book: the account marked at the first price after `close`.
        limits: what guards allow.

    Raises:
        ModelError: a forecast is NaN or infinite, which has a sign but says nothing.
    """
    breach = guards.breach(book, limits)
    if breach is not None:
        return _flatten(close, forecasts, book, f"{breach}: flatten and halt")
    if book.state is State.HALTED:
        held = {symbol: quantity for symbol, quantity in book.positions.items() if quantity}
        idle = dict.fromkeys(forecasts, 0.0)
        return Decision(close, forecasts, idle, held, (), (), State.HALTED, "halted: nothing is sent until resumed")
    _require_finite(close, forecasts)
    # of what is unknown nothing is wished, whatever the strategy says: it stays as it is
    wishes = strategy.targets(forecasts, book)
    targets = {symbol: wish for symbol, wish in wishes.items() if symbol not in book.unknown}
    reopen = strategy.rebalance == "every_close"
    money, cut = cut_to_canary(strategy, targets, book, limits)
    planned = plan(targets, book, strategy.band, limits.max_slippage, capital=money, reopen=reopen)
    margin = Margin(strategy.leverage, strategy.margin_mode == "isolated")
    legs, refusals = guards.judge(planned.legs, book, limits, margin)
    quantities = _reached(book, targets, legs)
    why = _why(targets, legs, refusals, planned.notes + cut + _left_alone(book))
    return Decision(close, forecasts, targets, quantities, legs, refusals, book.state, why)


def cut_to_canary(
    strategy: Strategy, targets: Mapping[str, float], book: Book, limits: Limits
) -> tuple[Decimal | None, tuple[str, ...]]:
    """Return what targets are fractions of (None: the equity), and a note where a canary's notional cuts it."""
    cap, gross = limits.canary_notional, sum((abs(Decimal(repr(target))) for target in targets.values()), Decimal(0))
    whole = book.equity if strategy.capital is None else strategy.capital
    if cap is None or gross * whole <= cap:
        return strategy.capital, ()
    return cap / gross, (f"canary: {cap} USDT instead of {gross * whole:.2f}",)


def _require_finite(close: datetime, forecasts: Mapping[str, Forecast]) -> None:
    for symbol, forecast in forecasts.items():
        if not isfinite(forecast.value):
            raise ModelError(
                f"The forecast of {symbol} at {close.isoformat()} is {forecast.value}; the position stays as it is, "
                "look at the candles and the model."
            )


def _left_alone(book: Book) -> tuple[str, ...]:
    """Say what is held without anything being known of it."""
    held = (symbol for symbol, quantity in sorted(book.positions.items()) if quantity)
    return tuple(f"{symbol} stays as it is: {book.unknown[symbol]}" for symbol in held if symbol in book.unknown)


def _flatten(close: datetime, forecasts: Mapping[str, Forecast], book: Book, why: str) -> Decision:
    held = {symbol for symbol, quantity in book.positions.items() if quantity}
    # what is not held may have no price
    targets = dict.fromkeys(sorted({*forecasts, *held} & book.instruments.keys() & book.prices.keys()), 0.0)
    planned = plan(targets, book, 0.0)
    for symbol in sorted(held - book.instruments.keys()):
        why += f"; {symbol} stays as it is: {book.unknown.get(symbol, 'its rules are not known')}"
    return Decision(close, forecasts, targets, planned.quantities, planned.legs, (), State.HALTED, why)


def _reached(book: Book, targets: Mapping[str, float], legs: tuple[Leg, ...]) -> dict[str, Decimal]:
    """Return the positions after the approved legs, for every symbol targeted or held."""
    reached = {symbol: book.positions.get(symbol, Decimal(0)) for symbol in {*targets, *book.positions}}
    for leg in legs:
        reached[leg.symbol] = leg.reaches(reached[leg.symbol])
    return {symbol: reached[symbol] for symbol in sorted(reached)}


_VERBS = {"c": "close", "r": "reduce", "o": "open", "i": "increase", "f": "flatten"}


def _why(
    targets: Mapping[str, float], legs: tuple[Leg, ...], refusals: tuple[Refusal, ...], notes: tuple[str, ...]
) -> str:
    """Say in words what is sent and what is not."""
    parts = [f"{_VERBS[leg.kind]} {leg.symbol} {leg.quantity:+f}" for leg in legs]
    alike: dict[tuple[str, str], list[str]] = {}
    for one in refusals:
        alike.setdefault((one.guard, one.reason), []).append(f"{_VERBS[one.leg.kind]} {one.leg.symbol}")
    parts += [f"refused {', '.join(what)} by {guard}: {reason}" for (guard, reason), what in alike.items()]
    parts += list(notes)
    if not parts:
        return "hold: " + (", ".join(f"{symbol} {target:+.4f}" for symbol, target in targets.items()) or "nothing")
    return "; ".join(parts)
