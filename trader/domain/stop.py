"""Protective stops: orders that rest on the exchange and close a whole position when its price is touched."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

ENDED = frozenset({"CANCELED", "EXPIRED", "REJECTED", "FINISHED"})
"""Statuses, in the exchange's words, after which a stop never changes again."""


@dataclass(frozen=True, slots=True)
class StopRequest:
    """One stop we intend to place: it closes the whole of a position when the mark price touches `trigger`.

    `closes` is signed like an order that would do it: negative closes a long position. Its size says nothing.
    """

    client_id: str
    symbol: str
    closes: Decimal
    trigger: Decimal


@dataclass(frozen=True, slots=True)
class Stop:
    """One stop as the exchange tells it.

    `status` is the exchange's word; `order_id` is the exchange's number of the order it became, None until it triggers.
    """

    client_id: str
    exchange_id: str
    symbol: str
    trigger: Decimal
    status: str
    order_id: str | None
    time: datetime

    @property
    def done(self) -> bool:
        """Whether it can never change again."""
        return self.status in ENDED
