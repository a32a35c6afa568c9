"""Where a protective stop lies, and what its trigger does to an imagined account."""

from decimal import Decimal

from trader.domain.instrument import Instrument
from trader.errors import Rejected
from trader.execution.fills import Execution, Ledger

_SAME = Decimal("1e-6")


def level(entry: Decimal, quantity: Decimal, fraction: Decimal, instrument: Instrument) -> Decimal:
    """Return the price at which a position is closed: so far against its average entry price, or a tick less far."""
    long = quantity > 0
    return instrument.round_price(entry * (1 - fraction if long else 1 + fraction), up=long)


def same(entry: Decimal, other: Decimal) -> bool:
    """Whether two average prices differ by no more than what adding them up differently does."""
    return abs(entry - other) <= _SAME * entry


def touched(quantity: Decimal, trigger: Decimal, price: Decimal) -> bool:
    """Whether a price triggers the stop of a position."""
    return price <= trigger if quantity > 0 else price >= trigger


def level_of(ledger: Ledger, instrument: Instrument, fraction: Decimal) -> Decimal:
    """Return where the stop of what an imagined account holds lies."""
    holding = ledger.holdings[instrument.symbol]
    return level(holding.cost / holding.quantity, holding.quantity, fraction, instrument)


def strike(ledger: Ledger, instrument: Instrument, price: Decimal) -> Execution | None:
    """Close a whole position at a price moved against it; None where PERCENT_PRICE lets no order fill there."""
    quantity = -ledger.quantity(instrument.symbol)
    try:
        (done,) = ledger.trade(instrument, quantity, price, reduce_only=True)
    except Rejected:
        return None
    return done
