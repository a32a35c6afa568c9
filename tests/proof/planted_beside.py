"""Bugs that only odd things show: money moved, fees in BNB, requests, hands, an older journal, stops that are out."""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from tests.proof.planting import Bug, bug
from trader.domain.account import Account
from trader.errors import ExchangeError
from trader.exchange import mapping
from trader.execution.reconcile import TRANSFERS
from trader.journal import archive
from trader.journal.bookings import Bookings
from trader.live import cycle
from trader.live.audit import Audit
from trader.live.control import Control
from trader.live.cycle import Cycle
from trader.live.protection import Protection
from trader.live.recovery import Recovery
from trader.live.router import Router


@bug(Cycle, "finish_decided")
def stops_before_everything(right: Any) -> Any:
    """Let no close be decided, and nothing be closed, before every stop is in its place."""

    async def finish_decided(self: Cycle) -> Any:
        report = await right(self)
        if self.unprotected:
            await self.protect()
        if self.unprotected:
            raise ExchangeError("The stops are not in their place; the close is tried again.")
        return report

    return finish_decided


@bug(Protection, "_tell")
def missing_stop_shrugged_off(right: Any) -> Any:
    """Go on as if a stop that could not be placed were there."""

    def tell(self: Protection, *, lift: bool = True) -> None:
        self.failed, self.missing, self.unseen = {}, {}, ""

    return tell


@bug(Recovery, "agreed")
def looked_at_twice(right: Any) -> Any:
    """Take positions and equity of one look, and the wallet of another."""

    async def agreed(self: Recovery) -> Account:
        account = await self.reconcile()
        await self.require_wallet()
        return account

    return agreed


@bug(cycle, "day_equity")
def withdrawal_is_a_loss(right: Any) -> Any:
    """Count what was moved since a close from the time at which the close was written down."""

    def day_equity(journal: Bookings, close: datetime, equity: Decimal) -> Decimal | None:
        points = journal.equity_points(last=1)
        record = journal.decision(points[0].close) if points else None
        if record is None or record.finished_at is None or points[0].close <= journal.losses_since():
            return None
        moved = (one.amount for one in journal.incomes(since=record.finished_at) if one.kind in TRANSFERS)
        return points[0].equity + sum(moved, Decimal(0))

    return day_equity


@bug(mapping, "fill_of")
def fee_must_be_usdt(right: Any) -> Any:
    """Refuse to read a trade whose fee is in another coin."""

    def fill_of(row: Any) -> Any:
        if row.commission_asset != mapping.USDT:
            raise ExchangeError(f"The fee of the trade {row.id} is in {row.commission_asset}.")
        return right(row)

    return fill_of


@bug(mapping, "fill_of")
def fee_taken_for_usdt(right: Any) -> Any:
    """Take the fee for one in USDT, whatever coin it is in."""

    def fill_of(row: Any) -> Any:
        return replace(right(row), fee=row.commission, paid=None)

    return fill_of


@bug(Control, "_overtaken")
def resume_lifts_all(right: Any) -> Any:
    """Obey a resume, whatever was found since it was asked for."""

    def overtaken(self: Control, request: Any) -> bool:
        return False

    return overtaken


@bug(Recovery, "explain_bookings")
def traces_not_looked_for(right: Any) -> Any:
    """Believe that nobody traded where the position is as it was."""

    async def explain_bookings(self: Recovery) -> None:
        return None

    return explain_bookings


@bug(Audit, "_judge")
def resting_order_ignored(right: Any) -> Any:
    """Trade on beside an order that somebody let rest."""

    def judge(self: Audit, finding: Any) -> None:
        return None

    return judge


@bug(Recovery, "settle_open")
def unsent_sent_unseen(right: Any) -> Any:
    """Send what the journal calls unsent without a look at what the account holds by now."""

    async def settle_open(self: Recovery, *, give_up: bool = False, halt: Any = None) -> int:
        async def nothing(**_: Any) -> None:
            return None

        self.reconcile = nothing  # type: ignore[method-assign,assignment]
        try:
            return int(await right(self, give_up=give_up, halt=halt))
        finally:
            del self.reconcile

    return settle_open


@bug(archive, "_take_over")
def restore_forgets(right: Any) -> Any:
    """Put a copy back as it is, whatever the journal said that it replaces."""

    def take_over(path: Any, fresh: Any, at: datetime) -> None:
        return None

    return take_over


@bug(Router, "is_from_before")
def forgotten_name_used_again(right: Any) -> Any:
    """Give an order the name of one that an older journal has forgotten."""

    def is_from_before(self: Router, close: datetime) -> bool:
        return False

    return is_from_before


BESIDE_BUGS: dict[str, Bug] = {
    plant.__name__: plant
    for plant in (
        looked_at_twice,
        withdrawal_is_a_loss,
        fee_must_be_usdt,
        fee_taken_for_usdt,
        resume_lifts_all,
        traces_not_looked_for,
        resting_order_ignored,
        unsent_sent_unseen,
        restore_forgets,
    )
}
OUTAGE_BUGS: dict[str, Bug] = {
    plant.__name__: plant for plant in (stops_before_everything, missing_stop_shrugged_off, forgotten_name_used_again)
}
