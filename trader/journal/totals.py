"""What a journal comes to: counts and sums, kept up by reading only what is new."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Self

from sqlalchemy import Integer, bindparam, func, literal_column, select

from trader.journal import schema
from trader.journal.queries import Reader
from trader.journal.rows import DecisionRecord, Status

FUNDING = "FUNDING_FEE"
OPEN = "open"
"""What an order comes to that is not at its end yet."""

# rows are numbered in the order they were written, whatever times they tell of
_FILL_ROW = literal_column("fills.rowid", Integer)
_INCOME_ROW = literal_column("incomes.rowid", Integer)
_CLOSES = select(schema.decisions.c.status, func.count().label("count")).group_by(schema.decisions.c.status)
_ORDERS = select(schema.orders.c.outcome, schema.orders.c.final, func.count().label("count")).group_by(
    schema.orders.c.outcome, schema.orders.c.final
)
_POSTS = select(func.coalesce(func.sum(schema.orders.c.sends), 0))
_FILLS = (
    select(_FILL_ROW.label("row"), schema.fills, schema.orders.c.price.label("sized"))
    .select_from(
        schema.fills.outerjoin(
            schema.orders,
            (schema.orders.c.exchange_id == schema.fills.c.exchange_id)
            & (schema.orders.c.symbol == schema.fills.c.symbol),
        )
    )
    .where(bindparam("after") < _FILL_ROW)
    .order_by(_FILL_ROW)
)
_FUNDING = (
    select(_INCOME_ROW.label("row"), schema.incomes.c.amount)
    .where(bindparam("after") < _INCOME_ROW, schema.incomes.c.kind == FUNDING)
    .order_by(_INCOME_ROW)
)
_OLDEST_UNFINISHED = select(func.min(schema.decisions.c.close, type_=schema.Moment)).where(schema.UNFINISHED)
_LAST_CLOSED = (
    select(schema.decisions.c.close)
    .where(schema.decisions.c.status == Status.CLOSED)
    .order_by(schema.decisions.c.close.desc())
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class Costs:
    """Money in USDT since the journal began, and the last rows that are in it.

    `fees` are what was paid to the exchange, `slippage` what fills cost against the price each order was sized at (a
    better price is negative), `funding` is signed as booked: negative was paid. `unpriced` counts fills of orders that
    kept no such price.
    """

    fees: Decimal = Decimal(0)
    slippage: Decimal = Decimal(0)
    funding: Decimal = Decimal(0)
    realised: Decimal = Decimal(0)
    traded: Decimal = Decimal(0)
    fills: int = 0
    unpriced: int = 0
    last_fill: int = 0
    last_income: int = 0

    @property
    def total(self) -> Decimal:
        """Return what trading cost: fees and slippage and, where it was paid, funding."""
        return self.fees + self.slippage - self.funding


class Totals(Reader):
    """A journal, to be counted and summed; works beside a daemon that writes it."""

    @classmethod
    def of(cls, path: Path) -> Self:
        """Open a journal for reading only, as `Reader.read` does.

        Raises:
            JournalError: there is none, it is damaged, or it has another schema.
        """
        return cls(Reader.read(path)._database)

    def closes_by_status(self) -> Mapping[Status, int]:
        """Return how many closes stand where."""
        return {Status(row[0]): int(row[1]) for row in map(tuple, self._database.read(_CLOSES))}

    def orders_by_outcome(self) -> Mapping[str, int]:
        """Return how many orders came to which end; those without one count as open."""
        found: dict[str, int] = {}
        for outcome, final, count in map(tuple, self._database.read(_ORDERS)):
            name = str(outcome) if final and outcome else OPEN
            found[name] = found.get(name, 0) + count
        return found

    def posts(self) -> int:
        """Return how often an order was posted, the same one posted again included."""
        return int(self._one(_POSTS)[0])

    def last_closed(self) -> DecisionRecord | None:
        """Return the newest close that was decided and carried to its end."""
        row = self._one(_LAST_CLOSED)
        return None if row is None else self.decision(row.close)

    def oldest_unfinished(self) -> datetime | None:
        """Return the oldest close that is claimed or decided and not at its end."""
        found: datetime | None = self._one(_OLDEST_UNFINISHED)[0]
        return found

    def costs(self, so_far: Costs | None = None) -> Costs:
        """Add what was written since to what was counted before.

        A fill is written before its order is settled, and until then nothing says which order it belongs to: it waits.
        """
        costs = so_far or Costs()
        unsettled = bool(self.open_intents())
        for row in self._database.read(_FILLS, {"after": costs.last_fill}):
            if row.sized is None and unsettled:
                break
            slipped = Decimal(0) if row.sized is None else row.quantity * (row.price - row.sized)
            costs = replace(
                costs,
                fees=costs.fees + row.fee,
                slippage=costs.slippage + slipped,
                realised=costs.realised + row.realised,
                traded=costs.traded + abs(row.quantity) * row.price,
                fills=costs.fills + 1,
                unpriced=costs.unpriced + (row.sized is None),
                last_fill=row.row,
            )
        for row in self._database.read(_FUNDING, {"after": costs.last_income}):
            costs = replace(costs, funding=costs.funding + row.amount, last_income=row.row)
        return costs
