"""A worker of another server."""

import ssl
from dataclasses import dataclass

from stepscope.app.engine import build_catalog, build_engine, build_fetcher
from stepscope.app.runtime import build_runtime
from stepscope.core.ports import Runtime
from stepscope.dialects.mlmodelscope.wire import write_json_feature
from stepscope.settings import Settings
from stepscope.store.memory import MemoryStore
from stepscope.worker.calls import Calls, Identity
from stepscope.worker.predictions import Asked, Predictions
from stepscope.worker.worker import Worker

FOR_EVER_S = 1e9
"""The lease of a worker's own predictor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """Whom a worker works for, and what it does."""

    server: str
    asked: Asked
    batch: int = 1
    tls: ssl.SSLContext | None = None


def build_worker(settings: Settings, identity: Identity, work: WorkerOptions, runtime: Runtime | None = None) -> Worker:
    """Build a worker of another server. Nothing of this machine's store or listeners is used."""
    runtime = runtime or build_runtime(settings)
    fetcher = build_fetcher(settings)
    catalog = build_catalog(settings, runtime)
    lasting = settings.model_copy(update={"predict": settings.predict.model_copy(update={"lease_s": FOR_EVER_S})})
    engine = build_engine(lasting, runtime, fetcher, catalog, MemoryStore())
    predictions = Predictions(engine, catalog, fetcher, work.asked, write_json_feature)
    return Worker(Calls(work.server, identity, work.tls), predictions, work.batch)
