"""Predictor records: opened, used, left, and swept when their lease is over."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from stepscope.core.errors import PredictorNotFound
from stepscope.core.lifecycle import PredictorRecord, admitted
from stepscope.core.manifests import Manifest
from stepscope.core.ports import Store
from stepscope.core.predictions import DeviceRef, Options

REMEMBERED = timedelta(hours=1)
"""How long an expired predictor is told from one that never was."""

TOUCH = timedelta(seconds=1)
"""Uses closer together than this are noted once: a busy predictor costs the store a write a second."""


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


class Predictors:
    """The life of predictor records in a store."""

    def __init__(self, store: Store, lease_s: float, now: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._lease_s = lease_s
        self._now = now

    async def open(self, manifest: Manifest, device: DeviceRef, options: Options, owner: str) -> PredictorRecord:
        """Add a record with a fresh lease."""
        now = self._now()
        record = PredictorRecord(
            id=str(uuid.uuid4()),
            owner=owner,
            model_name=manifest.name,
            model_version=manifest.version,
            device=device,
            options=options,
            lease_s=self._lease_s,
            opened_at=now,
            used_at=now,
        )
        await self._store.put_predictor(record)
        return record

    async def use(self, predictor_id: str, owner: str) -> PredictorRecord:
        """Return the record and start its lease again. Raises `PredictorNotFound`, `PredictorExpired`."""
        now = self._now()
        record = admitted(await self._store.get_predictor(predictor_id), predictor_id, owner, now)
        if now - record.used_at >= min(TOUCH, record.lease / 20):
            await self._store.touch_predictor(predictor_id, now)
            record = record.used(now)
        return record

    async def close(self, predictor_id: str, owner: str) -> PredictorRecord:
        """Take the record out; of two callers at once, one gets it. Raises as `use` does."""
        admitted(await self._store.get_predictor(predictor_id), predictor_id, owner, self._now())
        record = await self._store.remove_predictor(predictor_id)
        if record is None:
            raise PredictorNotFound(predictor_id)
        return record

    async def expired(self, predictor_id: str) -> bool:
        """Say whether a predictor can't be used any more."""
        record = await self._store.get_predictor(predictor_id)
        return record is None or self._now() >= record.expires_at

    async def purge(self) -> None:
        """Forget the predictors that expired long ago."""
        await self._store.purge_predictors(self._now() - REMEMBERED)
