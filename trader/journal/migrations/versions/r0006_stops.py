"""Protective stops."""

from alembic import op
from sqlalchemy import Boolean, Column, Integer, String, Text, text

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "stops",
        Column("seq", Integer, primary_key=True),
        Column("client_id", String(36), nullable=False, unique=True),
        Column("close", Integer, nullable=False),
        Column("symbol", Text, nullable=False),
        Column("attempt", Integer, nullable=False),
        Column("closes", Text, nullable=False),
        Column("trigger", Text, nullable=False),
        Column("entry", Text, nullable=False),
        Column("fraction", Text, nullable=False),
        Column("intended_at", Integer, nullable=False),
        Column("sent_at", Integer),
        Column("sends", Integer, nullable=False),
        Column("status", Text, nullable=False),
        Column("exchange_id", Text),
        Column("order_id", Text),
        Column("why", Text),
        Column("ended_at", Integer),
        Column("final", Boolean(create_constraint=False), nullable=False),
    )
    op.create_index("standing_stops", "stops", ["seq"], sqlite_where=text("final IS 0"))
    op.create_index("stops_by_close", "stops", ["close"])
