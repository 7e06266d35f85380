"""A predictor's life: a record with a lease, and what its age means."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from stepscope.core.errors import PredictorExpired, PredictorNotFound
from stepscope.core.predictions import DeviceRef, Options


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictorRecord:
    """A client's handle on a model: a record, not memory."""

    id: str
    owner: str
    model_name: str
    model_version: str
    device: DeviceRef
    options: Options
    lease_s: float
    opened_at: datetime
    used_at: datetime

    @property
    def lease(self) -> timedelta:
        """How long it is kept without use."""
        return timedelta(seconds=self.lease_s)

    @property
    def expires_at(self) -> datetime:
        """When the lease ends if the predictor isn't used before."""
        return self.used_at + self.lease

    def used(self, now: datetime) -> "PredictorRecord":
        """Return the record with its lease started again; a use before the last one changes nothing."""
        return replace(self, used_at=now) if now > self.used_at else self


def admitted(record: PredictorRecord | None, predictor_id: str, owner: str, now: datetime) -> PredictorRecord:
    """Return the record when this owner may use it now.

    Raises `PredictorNotFound` (also for another's predictor, so that ids can't be probed) and
    `PredictorExpired`.
    """
    if record is None or record.owner != owner:
        raise PredictorNotFound(predictor_id)
    if now >= record.expires_at:
        raise PredictorExpired(predictor_id, record.lease_s)
    return record
