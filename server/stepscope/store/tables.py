"""The tables as they are after all migrations, and records to rows and back.

Times are whole microseconds since 1970, which every database keeps exactly; SQLite would lose their zone.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, Double, Index, Integer, LargeBinary, MetaData, RowMapping, Table, Text, text

from stepscope.core.lifecycle import PredictorRecord
from stepscope.core.predictions import DeviceRef, Options

METADATA = MetaData()

PREDICTORS = Table(
    "predictors",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("model_name", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("options", Text, nullable=False),
    Column("lease_us", BigInteger, nullable=False),
    Column("opened_us", BigInteger, nullable=False),
    Column("used_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Index("predictors_by_end", "expires_us"),
)

CHANGES = Table(
    "changes",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("predictor_id", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
"""What was removed lately. In SQLite alone: PostgreSQL tells it by NOTIFY."""

_NUMBER = BigInteger().with_variant(Integer, "sqlite")


def _when(condition: str) -> dict[str, Any]:
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


JOBS = Table(
    "jobs",
    METADATA,
    Column("number", _NUMBER, primary_key=True),
    Column("id", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("group_name", Text, nullable=False),
    Column("key", Text),
    Column("note", LargeBinary, nullable=False),
    Column("rank", BigInteger, nullable=False),
    Column("turn", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("worker", Text, nullable=False),
    Column("lease_s", Double, nullable=False),
    Column("keep_s", Double, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Column("start_by_us", BigInteger),
    Column("claimed_us", BigInteger),
    Column("lease_until_us", BigInteger),
    Column("ended_us", BigInteger),
    Column("due_us", BigInteger, nullable=False),
    Column("error", Text, nullable=False),
    Column("percent", Double, nullable=False),
    Column("progress", LargeBinary, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("payload_body", Text),
    Column("result", LargeBinary),
    Column("result_body", Text),
    Index("jobs_by_id", "id", unique=True),
    Index("jobs_by_key", "key", "owner", unique=True, **_when("key IS NOT NULL")),
    Index("jobs_by_owner", "owner", "state", "number"),
    Index("jobs_in_line", "kind", "rank", "turn", "number", **_when("state = 'queued'")),
    Index("jobs_in_groups", "kind", "group_name", "rank", "turn", "number", **_when("state = 'queued'")),
    Index("jobs_due", "due_us"),
    Index("jobs_by_payload", "payload_body", **_when("payload_body IS NOT NULL")),
    Index("jobs_by_result", "result_body", **_when("result_body IS NOT NULL")),
)
"""Jobs. `rank` is the priority with its sign turned, so that every index rises. `due_us` is when the time does
something to the job next. What is too large for a row lies in a body, whose digest stands here instead."""

QUEUES = Table(
    "queues",
    METADATA,
    Column("kind", Text, primary_key=True),
    Column("waiting", BigInteger, nullable=False),
)
"""How many jobs wait in each queue. In PostgreSQL, who changes a queue holds its row."""

LANES = Table(
    "lanes",
    METADATA,
    Column("kind", Text, primary_key=True),
    Column("rank", BigInteger, primary_key=True),
    Column("owner", Text, primary_key=True),
    Column("turn", BigInteger, nullable=False),
    Index("lanes_by_turn", "kind", "rank", "turn"),
)
"""The last turn that each owner was given in a queue."""

JOB_CHANGES = Table(
    "job_changes",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("told", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
"""What transactions did to jobs lately. In SQLite alone: PostgreSQL tells it by NOTIFY."""

BODIES = Table(
    "bodies",
    METADATA,
    Column("digest", Text, primary_key=True),
    Column("wanted_us", BigInteger, nullable=False),
    Column("data", LargeBinary),
)
"""Large payloads and results by their SHA-256, and when one was last kept; without data, it is a file."""

WORKERS = Table(
    "workers",
    METADATA,
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("seen_us", BigInteger, nullable=False),
    Column("offline_after_s", Double, nullable=False),
    Column("about", LargeBinary, nullable=False),
    Column("mean_s", Double),
)

SESSIONS = Table(
    "sessions",
    METADATA,
    Column("digest", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    Column("expires_us", BigInteger),
)

SQLITE_ALONE = frozenset({CHANGES, JOB_CHANGES})

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(time: datetime) -> int:
    """Return a time as the tables hold it."""
    return (time - _EPOCH) // _MICROSECOND


def time_of(microseconds: int) -> datetime:
    """Return a time of the tables."""
    return _EPOCH + microseconds * _MICROSECOND


def predictor_row(record: PredictorRecord) -> dict[str, object]:
    """Return a record as a row."""
    return {
        "id": record.id,
        "owner": record.owner,
        "model_name": record.model_name,
        "model_version": record.model_version,
        "device": msgspec.json.encode(record.device).decode(),
        "options": msgspec.json.encode(record.options).decode(),
        "lease_us": record.lease // _MICROSECOND,
        "opened_us": microseconds(record.opened_at),
        "used_us": microseconds(record.used_at),
        "expires_us": microseconds(record.expires_at),
    }


def predictor_record(row: RowMapping) -> PredictorRecord:
    """Return a row as the record that it was made of. Options of a newer version that aren't known are left out."""
    return PredictorRecord(
        id=row["id"],
        owner=row["owner"],
        model_name=row["model_name"],
        model_version=row["model_version"],
        device=msgspec.json.decode(row["device"], type=DeviceRef),
        options=msgspec.json.decode(row["options"], type=Options),
        lease_s=row["lease_us"] / 1_000_000,
        opened_at=time_of(row["opened_us"]),
        used_at=time_of(row["used_us"]),
    )
