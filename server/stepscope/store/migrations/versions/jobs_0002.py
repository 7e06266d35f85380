"""Jobs with all that belongs to them: queues, whose turn it is, large bodies, workers; and sessions."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables."""
    _jobs()
    _queues()
    op.create_table(
        "bodies",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("wanted_us", sa.BigInteger, nullable=False),
        sa.Column("data", sa.LargeBinary),
    )
    op.create_table(
        "workers",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("seen_us", sa.BigInteger, nullable=False),
        sa.Column("offline_after_s", sa.Double, nullable=False),
        sa.Column("about", sa.LargeBinary, nullable=False),
        sa.Column("mean_s", sa.Double),
    )
    op.create_table(
        "sessions",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.Column("expires_us", sa.BigInteger),
    )
    if op.get_bind().dialect.name == "sqlite":
        op.create_table(
            "job_changes",
            sa.Column("number", sa.Integer, primary_key=True),
            sa.Column("told", sa.Text, nullable=False),
            sa.Column("at_us", sa.BigInteger, nullable=False),
            sqlite_autoincrement=True,
        )


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("number", NUMBER, primary_key=True),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("group_name", sa.Text, nullable=False),
        sa.Column("key", sa.Text),
        sa.Column("note", sa.LargeBinary, nullable=False),
        sa.Column("rank", sa.BigInteger, nullable=False),
        sa.Column("turn", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("max_attempts", sa.Integer, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("lease_s", sa.Double, nullable=False),
        sa.Column("keep_s", sa.Double, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("expires_us", sa.BigInteger, nullable=False),
        sa.Column("start_by_us", sa.BigInteger),
        sa.Column("claimed_us", sa.BigInteger),
        sa.Column("lease_until_us", sa.BigInteger),
        sa.Column("ended_us", sa.BigInteger),
        sa.Column("due_us", sa.BigInteger, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("percent", sa.Double, nullable=False),
        sa.Column("progress", sa.LargeBinary, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("payload_body", sa.Text),
        sa.Column("result", sa.LargeBinary),
        sa.Column("result_body", sa.Text),
    )
    op.create_index("jobs_by_id", "jobs", ["id"], unique=True)
    op.create_index("jobs_by_owner", "jobs", ["owner", "state", "number"])
    op.create_index("jobs_due", "jobs", ["due_us"])
    for name, columns, condition in (
        ("jobs_by_key", ["key", "owner"], "key IS NOT NULL"),
        ("jobs_in_line", ["kind", "rank", "turn", "number"], "state = 'queued'"),
        ("jobs_in_groups", ["kind", "group_name", "rank", "turn", "number"], "state = 'queued'"),
        ("jobs_by_payload", ["payload_body"], "payload_body IS NOT NULL"),
        ("jobs_by_result", ["result_body"], "result_body IS NOT NULL"),
    ):
        when = sa.text(condition)
        unique = name == "jobs_by_key"
        op.create_index(name, "jobs", columns, unique=unique, sqlite_where=when, postgresql_where=when)


def _queues() -> None:
    op.create_table(
        "queues",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("waiting", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "lanes",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("rank", sa.BigInteger, primary_key=True),
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("turn", sa.BigInteger, nullable=False),
    )
    op.create_index("lanes_by_turn", "lanes", ["kind", "rank", "turn"])
