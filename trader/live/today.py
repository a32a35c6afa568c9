"""What this UTC day began with and has seen so far, as the journal tells it."""

from datetime import datetime, timedelta
from decimal import Decimal

from trader.execution.guards import day_began, midnight
from trader.execution.reconcile import TRANSFERS
from trader.journal.bookings import Bookings
from trader.journal.queries import Reader, number

_MILLISECOND = timedelta(milliseconds=1)
_NONE, _CENT = Decimal(0), Decimal("0.01")


def day_equity(journal: Bookings, close: datetime) -> Decimal | None:
    """Return the equity this day's loss is counted from, net of deposits and withdrawals since; None before the first.

    A resume counts the day's loss anew, so nothing before it is looked at.
    """
    day, after = midnight(close), journal.losses_since() + _MILLISECOND
    today = journal.equity_points(since=max(day, after), until=close - _MILLISECOND)
    before = journal.equity_points(since=after, until=day - _MILLISECOND, last=1)
    found = day_began(((point.close, point.equity) for point in reversed(before + today)), close)
    if found is None:
        return None
    at, equity = found
    return equity + _moved_since(journal, at)


def _moved_since(journal: Bookings, close: datetime) -> Decimal:
    """Return what came in or went out after the look at the account with which a close ended.

    The close is written down a little later than it was looked at, and what is booked between the two is not in its
    equity, whatever the times say: the look is known by its wallet, which the bookings before it make. Where funding
    was told with an earlier time than it was paid, none does, and the times have to do.
    """
    record, points = journal.decision(close), journal.equity_points(since=close, until=close)
    booked = sorted(journal.incomes(since=close), key=lambda one: (one.time, number(one.id)))
    makes, left = journal.wallet() - sum((one.amount for one in booked), _NONE), list(booked)
    while left and abs(makes - points[0].wallet) >= _CENT:
        makes += left.pop(0).amount
    if not left and record is not None and record.finished_at is not None:
        left = [one for one in booked if one.time >= record.finished_at]
    return sum((one.amount for one in left if one.kind in TRANSFERS), _NONE)


def orders_today(journal: Reader, close: datetime) -> int:
    """Count the orders that were posted for earlier closes of this day."""
    return sum(1 for order in journal.orders(since=midnight(close), until=close - _MILLISECOND) if order.sends)
