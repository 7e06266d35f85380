"""Jobs, and whose turn it is in each queue."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "jobs",
        sa.Column("number", NUMBER, primary_key=True),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("key", sa.Text),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("turn", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("max_attempts", sa.Integer, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("expires_us", sa.BigInteger, nullable=False),
        sa.Column("lease_us", sa.BigInteger),
        sa.Column("ended_us", sa.BigInteger),
        sa.Column("forget_us", sa.BigInteger),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("progress", sa.LargeBinary, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("result", sa.LargeBinary),
    )
    op.create_index("jobs_by_id", "jobs", ["id"], unique=True)
    op.create_index("jobs_by_key", "jobs", ["owner", "key"], unique=True)
    for name, columns, condition in (
        ("jobs_waiting", ["kind", "rank", "turn", "number"], "state = 'queued'"),
        ("jobs_held", ["lease_us"], "state = 'processing'"),
        ("jobs_open", ["expires_us"], "state IN ('queued', 'processing')"),
        ("jobs_over", ["forget_us"], "forget_us IS NOT NULL"),
    ):
        op.create_index(name, "jobs", columns, sqlite_where=sa.text(condition), postgresql_where=sa.text(condition))
    op.create_table(
        "lanes",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("rank", sa.Integer, primary_key=True),
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("turn", sa.BigInteger, nullable=False),
    )
    op.create_index("lanes_by_turn", "lanes", ["kind", "rank", "turn"])
