"""The price an order was sized at, and what a position cost."""

from alembic import op
from sqlalchemy import Column, Text

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("orders", Column("price", Text))
    op.add_column("positions", Column("cost", Text))
