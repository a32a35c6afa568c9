"""Texts that transcripts share, kept once."""

from alembic import op
from sqlalchemy import Column, Integer, LargeBinary, Text

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "blocks",
        Column("id", Integer, primary_key=True),
        Column("hash", LargeBinary, nullable=False, unique=True),
        Column("data", LargeBinary, nullable=False),
    )
    op.add_column("transcripts", Column("blocks", Text))
