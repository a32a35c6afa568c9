"""What can be asked of a journal about protective stops."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, func, select

from trader.domain.stop import StopRequest
from trader.journal import schema
from trader.journal.database import Database
from trader.journal.rows import StopIntent, StopRecord

_STANDING = select(schema.stops).where(schema.OPEN).order_by(schema.stops.c.seq)
_STOP = select(schema.stops).where(schema.stops.c.client_id == bindparam("client_id"))
_NEWEST = select(schema.stops).order_by(schema.stops.c.seq.desc()).limit(bindparam("last"))
_COUNT = select(func.count()).where(
    schema.stops.c.close == bindparam("close"), schema.stops.c.symbol == bindparam("symbol")
)


class StopReader:
    """The part of a journal that tells of stops."""

    _database: Database

    def standing_stops(self) -> list[StopRecord]:
        """Return stops whose end is not certain, oldest first: they rest on the exchange, or may."""
        return [_stop(row) for row in self._database.read(_STANDING)]

    def stop(self, client_id: str) -> StopRecord | None:
        """Return one intended stop."""
        rows = self._database.read(_STOP, {"client_id": client_id})
        return _stop(rows[0]) if rows else None

    def stops(self, *, last: int = -1) -> list[StopRecord]:
        """Return intended stops, oldest first, the newest `last` of them (default: all)."""
        rows: Sequence[Row[Any]] = self._database.read(_NEWEST, {"last": last})
        return [_stop(row) for row in reversed(rows)]

    def stops_of(self, close: datetime, symbol: str) -> int:
        """Count the stops that were intended for a symbol at a close."""
        return int(self._database.read(_COUNT, {"close": close, "symbol": symbol})[0][0])


def _stop(row: Row[Any]) -> StopRecord:
    request = StopRequest(row.client_id, row.symbol, row.closes, row.trigger)
    return StopRecord(
        intent=StopIntent(row.close, row.attempt, request, row.entry, row.fraction, row.intended_at),
        sent_at=row.sent_at,
        sends=row.sends,
        status=row.status,
        exchange_id=row.exchange_id,
        order_id=row.order_id,
        why=row.why,
        ended_at=row.ended_at,
        final=row.final,
    )
