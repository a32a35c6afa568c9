"""What this UTC day began with and has seen so far, as the journal tells it."""

from datetime import datetime, timedelta
from decimal import Decimal

from trader.execution.guards import day_began, midnight
from trader.execution.reconcile import TRANSFERS
from trader.journal.queries import Reader

_MILLISECOND = timedelta(milliseconds=1)


def day_equity(journal: Reader, close: datetime) -> Decimal | None:
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
    record = journal.decision(at)
    since = record.finished_at if record is not None and record.finished_at is not None else at
    return equity + sum((one.amount for one in journal.incomes(since=since) if one.kind in TRANSFERS), Decimal(0))


def orders_today(journal: Reader, close: datetime) -> int:
    """Count the orders that were posted for earlier closes of this day."""
    return sum(1 for order in journal.orders(since=midnight(close), until=close - _MILLISECOND) if order.sends)
