"""Which state a request knew of."""

from alembic import op
from sqlalchemy import Column, Integer

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("requests", Column("seen", Integer))
