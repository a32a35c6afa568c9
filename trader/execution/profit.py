"""Where the money went: every cent between two moments, as what moved it; pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal

from trader.domain.account import Income
from trader.domain.order import Fill
from trader.execution.reconcile import TRANSFERS

FUNDING = "FUNDING_FEE"
_OF_FILLS = frozenset({"REALIZED_PNL", "COMMISSION"})
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Moved:
    """What moved a wallet, in USDT, each signed as the wallet felt it: a fee that was paid is negative.

    `other` is whatever the exchange booked under a name of its own, such as what the insurance fund took or gave.
    """

    realised: Decimal = _ZERO
    fees: Decimal = _ZERO
    funding: Decimal = _ZERO
    transfers: Decimal = _ZERO
    other: Decimal = _ZERO

    def __add__(self, more: "Moved") -> "Moved":
        """Add kind by kind."""
        return Moved(*(getattr(self, one.name) + getattr(more, one.name) for one in fields(self)))

    @property
    def total(self) -> Decimal:
        """Return by how much the wallet changed."""
        return self.realised + self.fees + self.funding + self.transfers + self.other


@dataclass(frozen=True, slots=True)
class Marked:
    """The account once a close was done: `at` is when, `wallet` realised and `equity` marked money in USDT."""

    close: datetime
    at: datetime
    wallet: Decimal
    equity: Decimal


@dataclass(frozen=True, slots=True)
class Profit:
    """What a span of time came to: it ended at `end` (None: now) with this wallet and this equity.

    `unrealised` is how much the unrealised profit changed. Nothing is left out: the wallet before, `moved.total` and
    `unexplained` make the wallet after; `net` and the transfers make the change of equity.
    """

    end: datetime | None
    moved: Moved
    unrealised: Decimal
    unexplained: Decimal
    wallet: Decimal
    equity: Decimal

    @property
    def net(self) -> Decimal:
        """Return what was earned: the change of equity that nobody paid in or out."""
        return self.moved.total - self.moved.transfers + self.unrealised + self.unexplained


def moved_by(fills: Iterable[Fill], incomes: Iterable[Income]) -> Moved:
    """Add up what trades and bookings moved.

    Profit and fees are those of the trades, which are known at once; the exchange books them again as incomes, which
    count nothing here.
    """
    realised = fees = funding = transfers = other = _ZERO
    for fill in fills:
        realised += fill.realised
        fees -= fill.fee
    for income in incomes:
        if income.kind == FUNDING:
            funding += income.amount
        elif income.kind in TRANSFERS:
            transfers += income.amount
        elif income.kind not in _OF_FILLS:
            other += income.amount
    return Moved(realised, fees, funding, transfers, other)


def profits(
    start: Marked, marks: Sequence[Marked], fills: Sequence[Fill], incomes: Sequence[Income], *, flat: bool
) -> list[Profit]:
    """Part all that moved money into the spans that the marks end, and one more for what came after the last.

    Args:
        start: the account when the story began.
        marks: the account after every close since, oldest first.
        fills: trades since the start, in any order.
        incomes: bookings since the start, in any order.
        flat: whether nothing is held now, so that nothing is unrealised either.
    """
    trades, bookings = sorted(fills, key=lambda one: one.time), sorted(incomes, key=lambda one: one.time)
    found, before, trade, booking = [], start, 0, 0
    for mark in marks:
        first_trade, first_booking = trade, booking
        while trade < len(trades) and trades[trade].time <= mark.at:
            trade += 1
        while booking < len(bookings) and bookings[booking].time <= mark.at:
            booking += 1
        moved = moved_by(trades[first_trade:trade], bookings[first_booking:booking])
        unrealised = (mark.equity - mark.wallet) - (before.equity - before.wallet)
        unexplained = mark.wallet - before.wallet - moved.total
        found.append(Profit(mark.close, moved, unrealised, unexplained, mark.wallet, mark.equity))
        before = mark
    moved = moved_by(trades[trade:], bookings[booking:])
    wallet, open_profit = before.wallet + moved.total, before.equity - before.wallet
    unrealised = -open_profit if flat else _ZERO
    found.append(Profit(None, moved, unrealised, _ZERO, wallet, wallet + open_profit + unrealised))
    return found


def together(spans: Sequence[Profit]) -> Profit:
    """Take spans that follow each other as one."""
    last = spans[-1]
    moved = sum((span.moved for span in spans), Moved())
    unrealised = sum((span.unrealised for span in spans), _ZERO)
    unexplained = sum((span.unexplained for span in spans), _ZERO)
    return Profit(last.end, moved, unrealised, unexplained, last.wallet, last.equity)
