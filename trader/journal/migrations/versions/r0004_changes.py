"""What was changed in the configuration, and when."""

from alembic import op
from sqlalchemy import Column, Integer, Text

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "changes",
        Column("id", Integer, primary_key=True),
        Column("at", Integer, nullable=False),
        Column("by", Text, nullable=False),
        Column("diff", Text, nullable=False),
    )
