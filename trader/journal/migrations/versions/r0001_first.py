"""The first journal."""

from alembic import op
from sqlalchemy import Boolean, CheckConstraint, Column, ForeignKey, Integer, LargeBinary, String, Text, text

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_decisions()
    _create_orders()
    _create_bookings()
    _create_control()


def _create_decisions() -> None:
    op.create_table(
        "instance",
        Column("id", Integer, CheckConstraint("id = 1", name="one_instance"), primary_key=True),
        Column("venue", Text, nullable=False),
        Column("account", Text, nullable=False),
        Column("tape", Text, nullable=False),
        Column("strategy", Text, nullable=False),
        Column("dry_run", Boolean(create_constraint=False), nullable=False),
        Column("created", Integer, nullable=False),
    )
    op.create_table(
        "decisions",
        Column("close", Integer, primary_key=True, autoincrement=False),
        Column("status", String(8), nullable=False),
        Column("claimed_at", Integer, nullable=False),
        Column("decided_at", Integer),
        Column("finished_at", Integer),
        Column("model_hash", Text),
        Column("why", Text),
        Column("equity", Text),
        Column("positions", Text),
        CheckConstraint("status IN ('claimed', 'decided', 'closed', 'missed', 'failed')", name="decision_status"),
    )
    unfinished = text("status IN ('claimed', 'decided')")
    op.create_index("unfinished_decisions", "decisions", ["close"], sqlite_where=unfinished)
    op.create_table(
        "transcripts",
        Column("close", Integer, ForeignKey("decisions.close"), primary_key=True, autoincrement=False),
        Column("inputs", LargeBinary, nullable=False),
        Column("output", LargeBinary, nullable=False),
    )


def _create_orders() -> None:
    op.create_table(
        "orders",
        Column("seq", Integer, primary_key=True),
        Column("client_id", String(36), nullable=False, unique=True),
        Column("close", Integer, nullable=False),
        Column("symbol", Text, nullable=False),
        Column("leg", String(1), nullable=False),
        Column("attempt", Integer, nullable=False),
        Column("quantity", Text, nullable=False),
        Column("reduce_only", Boolean(create_constraint=False), nullable=False),
        Column("intended_at", Integer, nullable=False),
        Column("not_after", Integer, nullable=False),
        Column("sent_at", Integer),
        Column("sends", Integer, nullable=False),
        Column("status", Text, nullable=False),
        Column("exchange_id", Text),
        Column("filled", Text, nullable=False),
        Column("average_price", Text),
        Column("outcome", Text),
        Column("error_code", Integer),
        Column("error_text", Text),
        Column("settled_at", Integer),
        Column("final", Boolean(create_constraint=False), nullable=False),
    )
    op.create_index("open_orders", "orders", ["seq"], sqlite_where=text("final IS 0"))
    op.create_index("orders_by_close", "orders", ["close"])


def _create_bookings() -> None:
    op.create_table(
        "fills",
        Column("symbol", Text, primary_key=True),
        Column("trade_id", Text, primary_key=True),
        Column("exchange_id", Text, nullable=False),
        Column("quantity", Text, nullable=False),
        Column("price", Text, nullable=False),
        Column("fee", Text, nullable=False),
        Column("realised", Text, nullable=False),
        Column("time", Integer, nullable=False),
    )
    op.create_index("fills_by_time", "fills", ["symbol", "time"])
    op.create_table(
        "incomes",
        Column("id", Text, primary_key=True),
        Column("kind", Text, primary_key=True),
        Column("symbol", Text, nullable=False),
        Column("amount", Text, nullable=False),
        Column("time", Integer, nullable=False),
        Column("trade_id", Text, nullable=False),
    )
    op.create_index("incomes_by_time", "incomes", ["time"])
    op.create_table(
        "baselines",
        Column("id", Integer, primary_key=True),
        Column("at", Integer, nullable=False),
        Column("wallet", Text, nullable=False),
        Column("equity", Text, nullable=False),
        Column("positions", Text, nullable=False),
        Column("last_trades", Text, nullable=False),
    )
    op.create_table(
        "positions",
        Column("symbol", Text, primary_key=True),
        Column("quantity", Text, nullable=False),
        Column("last_trade", Text),
    )
    op.create_table(
        "equity",
        Column("close", Integer, primary_key=True, autoincrement=False),
        Column("wallet", Text, nullable=False),
        Column("equity", Text, nullable=False),
        Column("peak", Text, nullable=False),
    )


def _create_control() -> None:
    op.create_table(
        "states",
        Column("id", Integer, primary_key=True),
        Column("state", Text, nullable=False),
        Column("why", Text, nullable=False),
        Column("by", Text, nullable=False),
        Column("at", Integer, nullable=False),
    )
    op.create_table(
        "requests",
        Column("id", Integer, primary_key=True),
        Column("kind", Text, nullable=False),
        Column("at", Integer, nullable=False),
        Column("done_at", Integer),
        Column("result", Text),
    )
    op.create_index("pending_requests", "requests", ["id"], sqlite_where=text("done_at IS NULL"))
    op.create_table(
        "models",
        Column("hash", Text, primary_key=True),
        Column("card", Text, nullable=False),
        Column("weights", LargeBinary, nullable=False),
    )
    op.create_table(
        "meta",
        Column("key", Text, primary_key=True),
        Column("value", Text, nullable=False),
    )
