"""From wished fractions of equity to legs in whole steps.

This is the border between float and Decimal: it is crossed once, by integer steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from trader.domain.decision import Book, Leg
from trader.domain.instrument import Instrument


@dataclass(frozen=True, slots=True)
class Plan:
    """The positions to reach in base, the legs that reach them in order, and notes on what was too small."""

    quantities: Mapping[str, Decimal]
    legs: tuple[Leg, ...]
    notes: tuple[str, ...]


def plan(
    targets: Mapping[str, float], book: Book, band: float, *, capital: Decimal | None = None, reopen: bool = False
) -> Plan:
    """Plan the legs from the book to the targets.

    A side that does not change is held unless the wished quantity differs from the held one by more than `band` of the
    wished one, or is closed and opened anew where `reopen` says so. A flip is a reduce-only close of exactly what is
    held, then an opening leg. All closing and reducing legs come before all opening ones. Opening legs below the
    minimum notional or quantity are dropped and noted.

    Args:
        targets: signed fractions of `capital`, or of equity without one; a symbol that is held but absent here is left
            alone.
        book: equity, positions and first prices after the close.
        band: drift as a fraction of the wished quantity, at least 0.
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
        legs, reached, note = _path(held, wished, instrument, price, band, reopen=reopen)
        quantities[symbol] = reached
        for leg in legs:
            (reducing if leg.reduce_only else opening).append(leg)
        if wished == 0 and targets[symbol]:
            share = abs(Decimal(repr(targets[symbol])) * money)
            note = f"{symbol}: {share:.2f} USDT buys less than one step of {instrument.step}"
        if note:
            notes.append(note)
    return Plan(quantities, tuple(reducing + opening), tuple(notes))


def wished_quantity(target: float, money: Decimal, price: Decimal, instrument: Instrument) -> Decimal:
    """Return the signed quantity of a fraction of money at a price, in whole steps rounded toward zero."""
    return instrument.quantity(instrument.steps(Decimal(repr(target)) * money / price))


def _path(
    held: Decimal, wished: Decimal, instrument: Instrument, price: Decimal, band: float, *, reopen: bool
) -> tuple[list[Leg], Decimal, str]:
    """Return the legs of one symbol, the position they reach, and a note where something was too small."""
    symbol = instrument.symbol
    if wished == held and not reopen:
        return [], held, ""
    if reopen or held == 0 or wished == 0 or (held > 0) != (wished > 0):
        legs = _split(symbol, -held, instrument, "c")
        note = _too_small(symbol, wished, instrument, price)
        if note or wished == 0:
            return legs, Decimal(0), note
        return legs + _split(symbol, wished, instrument, "o"), wished, ""
    drift = wished - held
    if abs(drift) <= Decimal(repr(band)) * abs(wished):
        return [], held, ""
    grows = abs(wished) > abs(held)
    change = instrument.quantity(instrument.steps(drift))
    note = _too_small(symbol, change, instrument, price) if grows else ""
    if note or change == 0 or abs(change) < instrument.min_quantity:
        return [], held, note
    return _split(symbol, change, instrument, "i" if grows else "r"), held + change, ""


def _too_small(symbol: str, quantity: Decimal, instrument: Instrument, price: Decimal) -> str:
    if quantity == 0:
        return ""
    if abs(quantity) < instrument.min_quantity:
        return f"{symbol}: {abs(quantity)} is below the minimum quantity {instrument.min_quantity}"
    if abs(quantity) * price < instrument.min_notional:
        return f"{symbol}: {abs(quantity) * price:.2f} USDT is below the minimum notional {instrument.min_notional}"
    return ""


def _split(symbol: str, quantity: Decimal, instrument: Instrument, kind: str) -> list[Leg]:
    """Cut a quantity into legs no larger than one market order may be.

    The parts are as equal as whole steps allow, because a small last one could be below the exchange's minimum; what is
    held beyond whole steps goes with the last.
    """
    sign, size = (1 if quantity > 0 else -1), abs(quantity)
    largest = instrument.quantity(instrument.steps(instrument.max_quantity))
    count = int((size / largest).to_integral_value(ROUND_CEILING))
    if count == 0:
        return []
    steps, longer = divmod(instrument.steps(size), count)
    parts = [instrument.quantity(steps + (number < longer)) for number in range(count)]
    parts[-1] += size - sum(parts)
    return [Leg(symbol, sign * part, kind) for part in parts]
