"""The tables of the journal.

Money and quantities are decimal text, times are whole milliseconds since the epoch (UTC). `HEAD` is the revision that
creates exactly these tables; the migrations in `migrations/versions` are its history.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)

HEAD = "0008"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def to_milliseconds(moment: datetime) -> int:
    """Return whole milliseconds since the epoch, rounding down.

    Raises:
        ValueError: the time is naive.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} is naive; the journal keeps aware UTC times")
    return (moment - _EPOCH) // _MILLISECOND


def from_milliseconds(number: int) -> datetime:
    """Return the aware UTC time of so many milliseconds since the epoch."""
    return _EPOCH + number * _MILLISECOND


class Moment(TypeDecorator[datetime]):
    """An aware UTC time, stored as milliseconds."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> int | None:
        """Write."""
        return None if value is None else to_milliseconds(value)

    def process_result_value(self, value: int | None, dialect: Any) -> datetime | None:
        """Read."""
        return None if value is None else from_milliseconds(value)


class Amount(TypeDecorator[Decimal]):
    """A finite decimal, stored as plain text so that no digit is lost."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Any) -> str | None:
        """Write; a number that is not finite is a ValueError."""
        if value is None:
            return None
        if not value.is_finite():
            raise ValueError(f"{value} is no amount; the journal keeps finite decimals")
        return format(value, "f")

    def process_result_value(self, value: str | None, dialect: Any) -> Decimal | None:
        """Read."""
        return None if value is None else Decimal(value)


# SQLite uses a partial index only for the very words it was made with
UNFINISHED = text("status IN ('claimed', 'decided')")
OPEN = text("final IS 0")
PENDING = text("done_at IS NULL")

metadata = MetaData()

instance = Table(
    "instance",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="one_instance"), primary_key=True),
    Column("venue", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("tape", Text, nullable=False),
    Column("strategy", Text, nullable=False),
    Column("dry_run", Boolean(create_constraint=False), nullable=False),
    Column("created", Moment, nullable=False),
)

decisions = Table(
    "decisions",
    metadata,
    Column("close", Moment, primary_key=True, autoincrement=False),
    Column("status", String(8), nullable=False),
    Column("claimed_at", Moment, nullable=False),
    Column("decided_at", Moment),
    Column("finished_at", Moment),
    Column("model_hash", Text),
    Column("why", Text),
    Column("equity", Amount),
    Column("positions", Text),
    CheckConstraint("status IN ('claimed', 'decided', 'closed', 'missed', 'failed')", name="decision_status"),
)
Index("unfinished_decisions", decisions.c.close, sqlite_where=UNFINISHED)

transcripts = Table(
    "transcripts",
    metadata,
    Column("close", Moment, ForeignKey("decisions.close"), primary_key=True, autoincrement=False),
    Column("inputs", LargeBinary, nullable=False),
    Column("output", LargeBinary, nullable=False),
    # JSON list of [first, last] ids of its blocks in order, null where it has none
    Column("blocks", Text),
)

# texts that transcripts share, each kept once
blocks = Table(
    "blocks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("data", LargeBinary, nullable=False),
)

orders = Table(
    "orders",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("client_id", String(36), nullable=False, unique=True),
    Column("close", Moment, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("leg", String(1), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("quantity", Amount, nullable=False),
    Column("reduce_only", Boolean(create_constraint=False), nullable=False),
    Column("intended_at", Moment, nullable=False),
    Column("not_after", Moment, nullable=False),
    Column("sent_at", Moment),
    Column("sends", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("exchange_id", Text),
    Column("filled", Amount, nullable=False),
    Column("average_price", Amount),
    Column("outcome", Text),
    Column("error_code", Integer),
    Column("error_text", Text),
    Column("settled_at", Moment),
    Column("final", Boolean(create_constraint=False), nullable=False),
    # the price the order was sized at, null where it was not kept
    Column("price", Amount),
    # the worst price it may pay, null for a market order
    Column("limit", Amount),
    # the mark price when it was posted last, null where it was not asked for
    Column("arrival", Amount),
)
Index("open_orders", orders.c.seq, sqlite_where=OPEN)
Index("orders_by_close", orders.c.close)

# protective stops: what rests on the exchange, and what became of it
stops = Table(
    "stops",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("client_id", String(36), nullable=False, unique=True),
    Column("close", Moment, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    # signed like the order it becomes
    Column("closes", Amount, nullable=False),
    Column("trigger", Amount, nullable=False),
    # what the trigger was made of: the average entry price, and how far it may move against the position
    Column("entry", Amount, nullable=False),
    Column("fraction", Amount, nullable=False),
    Column("intended_at", Moment, nullable=False),
    Column("sent_at", Moment),
    Column("sends", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("exchange_id", Text),
    # the exchange's number of the order it became
    Column("order_id", Text),
    Column("why", Text),
    Column("ended_at", Moment),
    Column("final", Boolean(create_constraint=False), nullable=False),
)
Index("standing_stops", stops.c.seq, sqlite_where=OPEN)
Index("stops_by_close", stops.c.close)

fills = Table(
    "fills",
    metadata,
    Column("symbol", Text, primary_key=True),
    Column("trade_id", Text, primary_key=True),
    Column("exchange_id", Text, nullable=False),
    Column("quantity", Amount, nullable=False),
    Column("price", Amount, nullable=False),
    Column("fee", Amount, nullable=False),
    Column("realised", Amount, nullable=False),
    Column("time", Moment, nullable=False),
)
Index("fills_by_time", fills.c.symbol, fills.c.time)

incomes = Table(
    "incomes",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("symbol", Text, nullable=False),
    Column("amount", Amount, nullable=False),
    Column("time", Moment, nullable=False),
    Column("trade_id", Text, nullable=False),
)
Index("incomes_by_time", incomes.c.time)

# what the account held when the story began, or was told anew
baselines = Table(
    "baselines",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("wallet", Amount, nullable=False),
    Column("equity", Amount, nullable=False),
    Column("positions", Text, nullable=False),
    Column("last_trades", Text, nullable=False),
)

# the newest baseline and every fill since, kept with each fill so that no start has to add them all up
positions = Table(
    "positions",
    metadata,
    Column("symbol", Text, primary_key=True),
    Column("quantity", Amount, nullable=False),
    Column("last_trade", Text),
    # what the quantity cost, signed like it; null until the position has been flat once
    Column("cost", Amount),
)

states = Table(
    "states",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("state", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", Moment, nullable=False),
)

requests = Table(
    "requests",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Column("done_at", Moment),
    Column("result", Text),
    # the newest state when it was asked for: what came after it, whoever asked did not know
    Column("seen", Integer),
)
Index("pending_requests", requests.c.id, sqlite_where=PENDING)

equity = Table(
    "equity",
    metadata,
    Column("close", Moment, primary_key=True, autoincrement=False),
    Column("wallet", Amount, nullable=False),
    Column("equity", Amount, nullable=False),
    Column("peak", Amount, nullable=False),
)

# what a start or a close changed in the configuration
changes = Table(
    "changes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("by", Text, nullable=False),
    Column("diff", Text, nullable=False),
)

models = Table(
    "models",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("card", Text, nullable=False),
    Column("weights", LargeBinary, nullable=False),
)

meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

VITAL = tuple(table.name for table in metadata.sorted_tables if table not in (transcripts, blocks))
"""Tables whose pages are checked at every start; the others carry checksums of their own and are checked when read."""
