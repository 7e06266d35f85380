"""The tables as they are after all migrations, and records to rows and back.

Times are whole microseconds since 1970, which every database keeps exactly; SQLite would lose their zone.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, Table, Text

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

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(time: datetime) -> int:
    """Return a time as the tables hold it."""
    return (time - _EPOCH) // _MICROSECOND


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


def predictor_record(row: Mapping[str, Any]) -> PredictorRecord:
    """Return a row as the record that it was made of. Options of a newer version that aren't known are left out."""
    return PredictorRecord(
        id=row["id"],
        owner=row["owner"],
        model_name=row["model_name"],
        model_version=row["model_version"],
        device=msgspec.json.decode(row["device"], type=DeviceRef),
        options=msgspec.json.decode(row["options"], type=Options),
        lease_s=row["lease_us"] / 1_000_000,
        opened_at=_EPOCH + row["opened_us"] * _MICROSECOND,
        used_at=_EPOCH + row["used_us"] * _MICROSECOND,
    )
