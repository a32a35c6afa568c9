"""Bugs that only the close of many symbols can show, planted like the others."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from tests.proof.planting import Bug, bug
from trader.journal.rows import Intent
from trader.live.recovery import Recovery
from trader.live.router import Router


@bug(Router, "carry")
def one_leg_stops_all(right: Any) -> Any:
    """Send nothing more of a decision once an order of any symbol has ended short."""

    async def carry(self: Router, intent: Intent, *, sent_at: datetime | None = None) -> Decimal:
        short: set[datetime] = self.__dict__.setdefault("short", set())
        if intent.close in short:
            return intent.quantity
        left: Decimal = await right(self, intent, sent_at=sent_at)
        if left:
            short.add(intent.close)
        return left

    return carry


@bug(Recovery, "settle_open")
def unsent_settled_first(right: Any) -> Any:
    """Settle orders in the order they were decided in, whatever has been sent already."""

    async def settle_open(self: Recovery, *, give_up: bool = False, halt: Any = None) -> int:
        left = self._journal.open_intents()
        for order in sorted(left, key=lambda one: not one.intent.reduce_only):
            if order.sent_at is None:
                await self.reconcile()
            await self.router.carry(order.intent, sent_at=order.sent_at)
        return len(left)

    return settle_open


BASKET_BUGS: dict[str, Bug] = {plant.__name__: plant for plant in (one_leg_stops_all, unsent_settled_first)}
