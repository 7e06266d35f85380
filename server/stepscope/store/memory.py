"""Records in this process's memory: lost on a restart, honest otherwise."""

from datetime import datetime

from stepscope.core.lifecycle import PredictorRecord


class MemoryStore:
    """The `Store` that needs nothing."""

    def __init__(self) -> None:
        self._predictors: dict[str, PredictorRecord] = {}

    async def start(self) -> None:
        """Nothing is needed."""

    async def stop(self) -> None:
        """Nothing is held."""

    async def put_predictor(self, record: PredictorRecord) -> None:
        """Add or replace a record."""
        self._predictors[record.id] = record

    async def get_predictor(self, predictor_id: str) -> PredictorRecord | None:
        """Return a record, lapsed or not, or None."""
        return self._predictors.get(predictor_id)

    async def touch_predictor(self, predictor_id: str, now: datetime) -> None:
        """Note a use; a record that is gone stays gone."""
        record = self._predictors.get(predictor_id)
        if record is not None:
            self._predictors[predictor_id] = record.used(now)

    async def remove_predictor(self, predictor_id: str) -> PredictorRecord | None:
        """Take a record out and return it, or None."""
        return self._predictors.pop(predictor_id, None)

    async def purge_predictors(self, before: datetime) -> list[str]:
        """Take out the records whose lease ended before a time; return their ids."""
        lapsed = [key for key, record in self._predictors.items() if record.expires_at < before]
        for key in lapsed:
            del self._predictors[key]
        return lapsed
