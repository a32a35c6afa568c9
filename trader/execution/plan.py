"""From wished fractions of equity to legs in whole steps.

This is the border between float and Decimal: it is crossed once, by integer steps.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from trader.domain.decision import Book, Decision, Leg
from trader.domain.instrument import Instrument


@dataclass(frozen=True, slots=True)
class Plan:
    """The positions to reach in base, the legs that reach them in order, and notes on what was too small."""

    quantities: Mapping[str, Decimal]
    legs: tuple[Leg, ...]
    notes: tuple[str, ...]


def plan(
    targets: Mapping[str, float],
    book: Book,
    band: float,
    max_slippage: Decimal | None = None,
    *,
    capital: Decimal | None = None,
    reopen: bool = False,
) -> Plan:
    """Plan the legs from the book to the targets.

    A side that does not change is held unless the wished quantity differs from the held one by more than `band` of the
    wished one, or is closed and opened anew where `reopen` says so. A flip is a reduce-only close of exactly what is
    held, then an opening leg. All closing and reducing legs come before all opening ones. Opening legs that the
    exchange would refuse are dropped and noted.

    Args:
        targets: signed fractions of `capital`, or of equity without one; a symbol that is held but absent here is left
            alone.
        book: equity, positions and first prices after the close.
        band: drift as a fraction of the wished quantity, at least 0.
        max_slippage: the fraction of its price that a leg may pay more, as a limit; None for market orders.
        capital: in USDT, where sizes do not follow the equity.
        reopen: close whatever is held and open what is wished, even where they are the same.
    """
    quantities: dict[str, Decimal] = {}
    reducing: list[Leg] = []
    opening: list[Leg] = []
    notes: list[str] = []
    money = book.equity if capital is None else capital
    for symbol in sorted(targets):
        held = book.positions.get(symbol, Decimal(0))
        instrument = book.instruments[symbol]
        price = book.prices[symbol]
        wished = wished_quantity(targets[symbol], money, price, instrument)
        legs, note = _path(held, wished, instrument, price, band, reopen=reopen)
        if wished == 0 and targets[symbol]:
            share = abs(Decimal(repr(targets[symbol])) * money)
            note = f"{symbol}: {share:.2f} USDT buys less than one step of {instrument.step}"
        if max_slippage is not None and legs:
            legs, unpriced = _limited(legs, instrument, price, max_slippage)
            note = unpriced or note
        quantities[symbol] = reached(held, legs)
        for leg in legs:
            (reducing if leg.reduce_only else opening).append(leg)
        if note:
            notes.append(note)
    return Plan(quantities, tuple(reducing + opening), tuple(notes))


def wished_quantity(target: float, money: Decimal, price: Decimal, instrument: Instrument) -> Decimal:
    """Return the signed quantity of a fraction of money at a price, in whole steps rounded toward zero."""
    return instrument.quantity(instrument.steps(Decimal(repr(target)) * money / price))


def reached(held: Decimal, legs: Iterable[Leg]) -> Decimal:
    """Return the position after the legs of one symbol."""
    for leg in legs:
        held = leg.reaches(held)
    return held


def closing_legs(symbol: str, held: Decimal, instrument: Instrument, kind: str = "c") -> list[Leg]:
    """Return the reduce-only legs that close exactly what is held.

    What is held beyond whole steps, or below the least an order may have, goes with a last order that is larger than
    it: a reduce-only order is cut to what is held, or refused, but never passes zero.
    """
    whole = instrument.quantity(instrument.steps(held))
    if abs(whole) < instrument.least:
        whole = Decimal(0)
    legs = _split(symbol, -whole, instrument, kind)
    if held != whole and reached(whole, legs) == 0 and len(legs) < instrument.max_orders:
        legs.append(Leg(symbol, -instrument.least if held > 0 else instrument.least, kind))
    return legs


def fitting(wished: Decimal, held: Decimal, instrument: Instrument, price: Decimal, *, reduce_only: bool) -> Decimal:
    """Return what one order may be of a signed quantity under today's rules, zero where it may be nothing.

    Args:
        wished: what is to be bought or sold.
        held: the position; what only reduces never asks for more than that.
        instrument: the rules.
        price: the mark price, by which the least notional is measured.
        reduce_only: whether the least notional does not count.
    """
    if reduce_only and abs(wished) >= abs(held):
        parts = closing_legs(instrument.symbol, held, instrument) if held * wished < 0 else []
        return parts[0].quantity if parts else Decimal(0)
    steps = min(abs(instrument.steps(wished)), instrument.steps(instrument.max_quantity))
    quantity = instrument.quantity(steps if wished > 0 else -steps)
    if reduce_only:
        return quantity if steps and abs(quantity) >= instrument.least else Decimal(0)
    if not instrument.trading or _unfit(instrument.symbol, held, quantity, instrument, price):
        return Decimal(0)
    return quantity


def chosen_leverages(
    decision: Decision, prices: Mapping[str, Decimal], instruments: Mapping[str, Instrument], wished: int
) -> dict[str, int]:
    """Return the leverage each symbol that is opened is opened with: the wish, or what its notional's tier allows."""
    return {
        symbol: instruments[symbol].leverage(abs(decision.quantities[symbol]) * prices[symbol], wished)
        for symbol in sorted({leg.symbol for leg in decision.legs if leg.kind == "o"})
    }


def _path(
    held: Decimal, wished: Decimal, instrument: Instrument, price: Decimal, band: float, *, reopen: bool
) -> tuple[list[Leg], str]:
    """Return the legs of one symbol, and a note where something is not as wished."""
    symbol = instrument.symbol
    if wished == held and not reopen:
        return [], ""
    if reopen or held == 0 or wished == 0 or (held > 0) != (wished > 0):
        legs, note = closing_legs(symbol, held, instrument), _unfit(symbol, Decimal(0), wished, instrument, price)
        if reached(held, legs):
            return legs, f"{symbol}: more is held than {len(legs)} orders can close; the rest follows at the next close"
        if wished == 0 or note:
            return legs, note or _odd(symbol, held, instrument)
        opened = _split(symbol, wished, instrument, "o")
        if reached(Decimal(0), opened) != wished:
            note = f"{symbol}: more is wished than {len(opened)} orders can open; the rest follows at the next close"
        return legs + opened, note or _odd(symbol, held, instrument)
    drift = wished - held
    if abs(drift) <= Decimal(repr(band)) * abs(wished):
        return [], ""
    grows = abs(wished) > abs(held)
    change = instrument.quantity(instrument.steps(drift))
    note = _unfit(symbol, held, change, instrument, price) if grows else ""
    if note or abs(change) < instrument.least:
        return [], note
    return _split(symbol, change, instrument, "i" if grows else "r"), ""


def _unfit(symbol: str, held: Decimal, quantity: Decimal, instrument: Instrument, price: Decimal) -> str:
    """Say why the exchange would refuse to open so much more; empty where it would not."""
    if quantity == 0:
        return ""
    if abs(quantity) < instrument.least:
        return f"{symbol}: {abs(quantity)} is below the minimum quantity {instrument.min_quantity}"
    if abs(quantity) * price < instrument.min_notional:
        return f"{symbol}: {abs(quantity) * price:.2f} USDT is below the minimum notional {instrument.min_notional}"
    if abs(held + quantity) * price > instrument.largest_notional:
        return (
            f"{symbol}: a position of {abs(held + quantity) * price:.2f} USDT is above the "
            f"{instrument.largest_notional} that any leverage allows"
        )
    return ""


def _odd(symbol: str, held: Decimal, instrument: Instrument) -> str:
    """Say what is held beyond what orders can be made of."""
    rest = abs(held) if abs(held) < instrument.least else abs(held) % instrument.step
    if not rest:
        return ""
    return (
        f"{symbol}: {rest} of what is held is less than an order may have; a reduce-only order of {instrument.least} "
        "closes it where the exchange cuts it to that, else it stays until it is closed by hand"
    )


def _limited(legs: list[Leg], instrument: Instrument, price: Decimal, max_slippage: Decimal) -> tuple[list[Leg], str]:
    """Give legs the worst price they may pay; those for which there is none are dropped, with a note."""
    priced: list[Leg] = []
    for leg in legs:
        limit = instrument.limit_price(price, max_slippage, buys=leg.quantity > 0)
        if limit is None:
            return priced, f"{leg.symbol}: no tick of {instrument.tick} lies within {max_slippage} of {price}"
        # the exchange measures a limit order at its own price
        note = "" if leg.reduce_only else _unfit(leg.symbol, Decimal(0), leg.quantity, instrument, limit)
        if note:
            return priced, note
        priced.append(replace(leg, limit=limit))
    return priced, ""


def _split(symbol: str, quantity: Decimal, instrument: Instrument, kind: str) -> list[Leg]:
    """Cut a quantity of whole steps into legs no larger than one order may be, at most as many as allowed.

    The parts are as equal as whole steps allow, because a small last one could be below the exchange's minimum.
    """
    sign = 1 if quantity > 0 else -1
    largest = instrument.steps(instrument.max_quantity)
    steps = min(abs(instrument.steps(quantity)), largest * instrument.max_orders)
    count = -(-steps // largest)
    if count == 0:
        return []
    each, longer = divmod(steps, count)
    return [Leg(symbol, instrument.quantity(sign * (each + (number < longer))), kind) for number in range(count)]
