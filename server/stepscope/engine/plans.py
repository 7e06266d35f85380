"""What is kept for a predictor beside its record: its manifest with the files found, and its labels."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from stepscope.codecs.labels import read_labels
from stepscope.core.lifecycle import PredictorRecord
from stepscope.core.manifests import Manifest
from stepscope.core.predictions import ModelRef
from stepscope.engine.catalog import Catalog
from stepscope.engine.pipeline import Plan

Prepare = Callable[[Manifest], Awaitable[Manifest]]
"""Finds a model's files, and fetches those that aren't there."""


class Plans:
    """Plans by predictor, made on first use: a predictor may come from another process."""

    def __init__(self, catalog: Catalog, prepare: Prepare) -> None:
        self._catalog = catalog
        self._prepare = prepare
        self._plans: dict[str, Plan] = {}

    def manifest(self, record: PredictorRecord) -> Manifest:
        """Return the manifest of exactly the version that was opened. Raises `ModelNotFound`."""
        return self._catalog.resolve(ModelRef(name=record.model_name, version="=" + record.model_version))

    async def get(self, record: PredictorRecord) -> Plan:
        """Return a predictor's plan, with the way pinned that it was opened in.

        Raises `ModelNotFound`, `ModelUnavailable`.
        """
        plan = self._plans.get(record.id)
        if plan is None:
            manifest = await self._prepare(self.manifest(record).pinned(record.options.way))
            labels = await asyncio.to_thread(_read_labels, manifest.files.labels if manifest.files else None)
            plan = self._plans[record.id] = Plan(manifest=manifest, labels=labels)
        return plan

    def forget(self, predictor_id: str) -> None:
        """Drop what is kept."""
        self._plans.pop(predictor_id, None)


def _read_labels(path: Path | None) -> tuple[str, ...]:
    return read_labels(path.read_bytes()) if path else ()
