"""Bugs of protective stops that the proof has to find, beside those of orders."""

from datetime import datetime
from typing import Any

from tests.proof.planting import Bug, bug
from trader.execution.reconcile import Kind, Policies
from trader.journal.journal import Journal
from trader.journal.protection import Protection as StopPages
from trader.live.protection import Protection


@bug(Protection, "_settle")
def stop_placed_blindly(right: Any) -> Any:
    """After an answer that proves nothing, believe that there is no stop, and place another."""

    async def settle(self: Protection, stops: Any, record: Any, why: str = "") -> Any:
        if record.exchange_id is None:
            self._end(record, "ABSENT", "no answer")
            return None
        return await right(self, stops, record, why)

    return settle


@bug(Protection, "origin")
def stop_taken_for_a_person_s(right: Any) -> Any:
    """Know the orders that stops became for nobody's."""

    async def origin(self: Protection, order: Any) -> None:
        return None

    return origin


@bug(Policies, "adopts")
def stop_shrugged_off(right: Any) -> Any:
    """Trade on after a stop, and let nobody look."""

    def adopts(self: Policies, kind: Kind) -> bool:
        return kind is Kind.STOP or right(self, kind)

    return adopts


@bug(StopPages, "mark_stop_sent")
def stop_not_written_down(right: Any) -> Any:
    """Place a stop, and write down later that it was."""

    def mark_stop_sent(self: Journal, client_id: str, at: datetime) -> None:
        return None

    return mark_stop_sent


STOP_BUGS: dict[str, Bug] = {
    plant.__name__: plant
    for plant in (stop_placed_blindly, stop_taken_for_a_person_s, stop_shrugged_off, stop_not_written_down)
}
