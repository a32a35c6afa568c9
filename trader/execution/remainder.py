"""What may follow, once, on an order that ended short; the daemon and the backtest ask the same."""

from dataclasses import dataclass
from decimal import Decimal

from trader.domain.instrument import Instrument
from trader.errors import Rejected
from trader.execution.plan import fitting
from trader.execution.refusals import Action, action_of

_NONE = Decimal(0)


@dataclass(frozen=True, slots=True)
class Rules:
    """Which orders are followed.

    `top_up` sends what a partial fill left; `smaller` is the share of the quantity that is sent where the margin does
    not suffice, 0 for standing aside.
    """

    top_up: bool = True
    smaller: Decimal = _NONE


@dataclass(frozen=True, slots=True)
class Short:
    """An order that ended short: what it was, what of it was filled, and the refusal where it was refused."""

    quantity: Decimal
    limit: Decimal | None
    reduce_only: bool
    filled: Decimal = _NONE
    refusal: Rejected | None = None


def wanted(short: Short, rules: Rules) -> Decimal:
    """Return what is still wanted of an order; one of which nothing was filled is left alone unless it was refused."""
    if short.refusal is None:
        return short.quantity - short.filled if rules.top_up and short.filled else _NONE
    action = action_of(short.refusal)
    if action is Action.SHRINK:
        return short.quantity * rules.smaller
    return short.quantity if action is Action.RECOMPUTE else _NONE


def following(
    short: Short, rules: Rules, held: Decimal, instrument: Instrument, mark: Decimal
) -> tuple[Decimal, Decimal | None] | None:
    """Return quantity and limit of the order that follows, None where none does.

    Args:
        short: the order that ended.
        rules: what is followed.
        held: the position now.
        instrument: the rules of today, which may be others than the order was made by.
        mark: the mark price.
    """
    wished = wanted(short, rules)
    if not wished:
        return None
    limit = short.limit
    if limit is not None:
        limit = instrument.within(limit, mark, buys=wished > 0)
        if limit is None:
            return None
    price = mark if limit is None else limit
    quantity = fitting(wished, held, instrument, price, reduce_only=short.reduce_only)
    if not quantity or (short.refusal is not None and (quantity, limit) == (short.quantity, short.limit)):
        return None
    return quantity, limit
