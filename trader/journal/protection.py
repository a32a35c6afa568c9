"""Protective stops, durable before they are placed; each method is one transaction."""

from collections.abc import Iterable
from datetime import datetime

from trader.domain.order import Fill, Order
from trader.domain.stop import Stop
from trader.journal import statements
from trader.journal.bookings import Bookings
from trader.journal.rows import INTENDED, Outcome, StopIntent, StopRecord

LEG = "s"
"""The letter of an order that a stop became."""


class Protection(Bookings):
    """The part of a journal that keeps stops."""

    def intend_stop(self, intent: StopIntent) -> None:
        """Keep a stop that is to be placed; the same one a second time changes nothing."""
        request = intent.request
        values = {name: getattr(request, name) for name in ("client_id", "symbol", "closes", "trigger")}
        values |= {name: getattr(intent, name) for name in ("close", "attempt", "entry", "fraction", "intended_at")}
        with self._database.write() as connection:
            connection.execute(statements.INTEND_STOP, values | {"sends": 0, "status": INTENDED, "final": False})

    def mark_stop_sent(self, client_id: str, at: datetime) -> None:
        """Keep that a stop is about to be posted; nothing is posted before this returns.

        Raises:
            JournalError: no such stop, or its end is already certain.
        """
        with self._database.write() as connection:
            if connection.execute(statements.SEND_STOP, {"id": client_id, "sent_at": at}).rowcount != 1:
                raise self._refusal(f"the stop {client_id} is not intended, or its end is already certain")

    def stands(self, stop: Stop) -> None:
        """Keep that a stop rests on the exchange."""
        self._settle(stop.client_id, stop.status, stop, None, None)

    def end_stop(self, client_id: str, status: str, why: str, at: datetime, stop: Stop | None = None) -> None:
        """Keep how a stop ended; one whose end is certain already stays as it is."""
        self._settle(client_id, status, stop, why, at)

    def _settle(self, client_id: str, status: str, stop: Stop | None, why: str | None, at: datetime | None) -> None:
        values = {"id": client_id, "status": status, "why": why, "ended_at": at, "final": at is not None}
        told = {"exchange_id": stop and stop.exchange_id, "order_id": stop and stop.order_id}
        with self._database.write() as connection:
            connection.execute(statements.SETTLE_STOP, values | told)

    def record_stopped(self, fills: Iterable[Fill], became: Iterable[tuple[StopRecord, Order]], at: datetime) -> None:
        """Keep trades together with the orders that stops became, which end those stops."""
        with self._database.write() as connection:
            for fill in fills:
                self._keep_fill(connection, fill)
            for record, order in became:
                ended = {"id": record.client_id, "status": "FINISHED", "why": "triggered", "ended_at": at}
                told = {"exchange_id": None, "order_id": order.exchange_id, "final": True}
                connection.execute(statements.SETTLE_STOP, ended | told)
                connection.execute(statements.STOPPED, _row(record, order, at))


def _row(record: StopRecord, order: Order, at: datetime) -> dict[str, object]:
    """Return the row of an order that the exchange sent for a stop: none of our posts."""
    intent = record.intent
    return {
        "client_id": record.client_id,
        "close": intent.close,
        "symbol": record.symbol,
        "leg": LEG,
        "attempt": intent.attempt,
        "quantity": order.quantity,
        "reduce_only": True,
        "intended_at": intent.intended_at,
        "not_after": order.time,
        "sends": 0,
        "status": order.status,
        "exchange_id": order.exchange_id,
        "filled": order.filled,
        "average_price": order.average_price or None,
        "outcome": Outcome.CONFIRMED.value,
        "error_text": f"the protective stop at {intent.request.trigger:f} was triggered",
        "settled_at": at,
        "final": True,
    }
