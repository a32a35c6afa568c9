"""Guards approve a leg or refuse it; they never change one."""

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

from trader.domain.decision import Book, Leg, Limits, Refusal, State


def drawdown(book: Book) -> Decimal:
    """Return the loss from peak equity as a fraction of the peak, at least 0."""
    if book.peak_equity <= 0:
        return Decimal(1)
    return max(Decimal(0), 1 - book.equity / book.peak_equity)


def drawdown_breached(book: Book, limits: Limits) -> bool:
    """Whether the loss from peak equity has reached its limit; a limit of 1 never trips."""
    return limits.max_drawdown < 1 and drawdown(book) >= limits.max_drawdown


def judge(legs: Iterable[Leg], book: Book, limits: Limits) -> tuple[tuple[Leg, ...], tuple[Refusal, ...]]:
    """Part legs into approved and refused, walking them in order as if each approved one were filled.

    Legs that only reduce are always approved. An opening leg is refused where the state forbids it, where the symbol is
    not trading, or where the position it leads to would pass a limit; what it would have followed is then refused too.
    """
    approved: list[Leg] = []
    refused: list[Refusal] = []
    held = dict(book.positions)
    for leg in legs:
        if not leg.reduce_only:
            reached = held.get(leg.symbol, Decimal(0)) + leg.quantity
            earlier = next((one for one in refused if one.leg.symbol == leg.symbol), None)
            refusal = replace(earlier, leg=leg) if earlier else _refusal(leg, reached, book, limits)
            if refusal:
                refused.append(refusal)
                continue
        held[leg.symbol] = held.get(leg.symbol, Decimal(0)) + leg.quantity
        approved.append(leg)
    return tuple(approved), tuple(refused)


def _refusal(leg: Leg, reached: Decimal, book: Book, limits: Limits) -> Refusal | None:
    if book.state is not State.ACTIVE:
        return Refusal(leg, "state", f"{book.state} opens nothing")
    instrument = book.instruments[leg.symbol]
    if not instrument.trading:
        return Refusal(leg, "status", f"{leg.symbol} is {instrument.status}, not TRADING")
    notional = abs(reached) * book.prices[leg.symbol]
    if limits.max_position is not None and abs(reached) > limits.max_position:
        return Refusal(leg, "max_position", f"a position of {reached} passes the limit {limits.max_position}")
    if limits.max_notional is not None and notional > limits.max_notional:
        return Refusal(leg, "max_notional", f"a notional of {notional:.2f} passes the limit {limits.max_notional}")
    if notional > limits.max_leverage * book.equity:
        return Refusal(
            leg,
            "max_leverage",
            f"a notional of {notional:.2f} passes {limits.max_leverage} times the equity {book.equity:.2f}",
        )
    return None
