"""Predictors, and for SQLite the table that tells what was removed."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "predictors",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("model_name", sa.Text, nullable=False),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("device", sa.Text, nullable=False),
        sa.Column("options", sa.Text, nullable=False),
        sa.Column("lease_us", sa.BigInteger, nullable=False),
        sa.Column("opened_us", sa.BigInteger, nullable=False),
        sa.Column("used_us", sa.BigInteger, nullable=False),
        sa.Column("expires_us", sa.BigInteger, nullable=False),
    )
    op.create_index("predictors_by_end", "predictors", ["expires_us"])
    if op.get_bind().dialect.name == "sqlite":
        op.create_table(
            "changes",
            sa.Column("number", sa.Integer, primary_key=True),
            sa.Column("predictor_id", sa.Text, nullable=False),
            sa.Column("at_us", sa.BigInteger, nullable=False),
            sqlite_autoincrement=True,
        )
