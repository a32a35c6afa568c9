"""What this UTC day began with and has seen so far, as the journal tells it."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from trader.domain.account import Income
from trader.execution.guards import day_began, midnight
from trader.execution.reconcile import TRANSFERS
from trader.journal.bookings import Bookings, grown
from trader.journal.queries import Reader, number
from trader.journal.rows import EquityPoint

_MILLISECOND = timedelta(milliseconds=1)
_NONE, _CENT = Decimal(0), Decimal("0.01")


def day_equity(journal: Bookings, close: datetime, equity: Decimal) -> Decimal | None:
    """Return the equity this day's loss is counted from; None before the first.

    Deposits and withdrawals since multiply it by what they did to the equity, so that as a fraction a loss stays what
    it was. A resume counts the day's loss anew, so nothing before it is looked at.

    Args:
        journal: the story so far.
        close: what is decided now.
        equity: marked money in USDT of a look at which every booking so far is in the wallet.
    """
    day, after = midnight(close), journal.losses_since() + _MILLISECOND
    today = journal.equity_points(since=max(day, after), until=close - _MILLISECOND)
    before = journal.equity_points(since=after, until=day - _MILLISECOND, last=1)
    found = day_began(((point.close, point.equity) for point in reversed(before + today)), close)
    if found is None:
        return None
    at, base = found
    for then, moved_in in _moves(journal, [point for point in before + today if point.close >= at], equity):
        if moved_in:
            base *= grown(then, moved_in)
    return base


def _moves(journal: Bookings, points: Sequence[EquityPoint], equity: Decimal) -> Iterator[tuple[Decimal, Decimal]]:
    """Yield the equity of every look after the first, this one last, and what was moved in since the look before.

    A close is written down a little later than it was looked at, and what is booked between the two is not in its
    equity, whatever the times say: the look is known by its wallet, which the bookings before it make. Where funding
    was told with an earlier time than it was paid, none does, and the times have to do.
    """
    booked = sorted(journal.incomes(since=points[0].close), key=lambda one: (one.time, number(one.id)))
    if not any(one.kind in TRANSFERS for one in booked):
        return
    makes = journal.wallet() - sum((one.amount for one in booked), _NONE)
    for turn, point in enumerate(points):
        end, made = 0, makes
        while end < len(booked) and abs(made - point.wallet) >= _CENT:
            made += booked[end].amount
            end += 1
        if abs(made - point.wallet) >= _CENT:
            record = journal.decision(point.close)
            ended = point.close if record is None or record.finished_at is None else record.finished_at
            end = sum(1 for one in booked if one.time < ended)
            made = makes + sum((one.amount for one in booked[:end]), _NONE)
        if turn:
            yield point.equity, _moved_in(booked[:end])
        booked, makes = booked[end:], made
    yield equity, _moved_in(booked)


def _moved_in(booked: Iterable[Income]) -> Decimal:
    return sum((one.amount for one in booked if one.kind in TRANSFERS), _NONE)


def orders_today(journal: Reader, close: datetime) -> int:
    """Count the orders that were posted for earlier closes of this day."""
    return sum(1 for order in journal.orders(since=midnight(close), until=close - _MILLISECOND) if order.sends)
