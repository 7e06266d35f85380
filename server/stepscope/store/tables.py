"""The tables as they are after all migrations, and records to rows and back.

Times are whole microseconds since 1970, which every database keeps exactly; SQLite would lose their zone.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, RowMapping, Table, Text, text

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
    Column("key", Text),
    Column("rank", Integer, nullable=False),
    Column("turn", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("worker", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Column("lease_us", BigInteger),
    Column("ended_us", BigInteger),
    Column("forget_us", BigInteger),
    Column("error", Text, nullable=False),
    Column("progress", LargeBinary, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("result", LargeBinary),
    Index("jobs_by_id", "id", unique=True),
    Index("jobs_by_key", "owner", "key", unique=True),
    Index("jobs_waiting", "kind", "rank", "turn", "number", **_when("state = 'queued'")),
    Index("jobs_held", "lease_us", **_when("state = 'processing'")),
    Index("jobs_open", "expires_us", **_when("state IN ('queued', 'processing')")),
    Index("jobs_over", "forget_us", **_when("forget_us IS NOT NULL")),
)
"""Jobs. `rank` is the priority with its sign turned, so that every index rises."""

LANES = Table(
    "lanes",
    METADATA,
    Column("kind", Text, primary_key=True),
    Column("rank", Integer, primary_key=True),
    Column("owner", Text, primary_key=True),
    Column("turn", BigInteger, nullable=False),
    Index("lanes_by_turn", "kind", "rank", "turn"),
)
"""The last turn that each owner was given in a queue."""

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
