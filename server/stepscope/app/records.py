"""Where predictors, jobs and sessions are kept, and what is made ready before several processes open it."""

import asyncio

from stepscope.app.traces import traces_file
from stepscope.core.ports import SessionStore
from stepscope.engine.jobs import JobLimits, Jobs
from stepscope.settings import MEMORY, SQLITE, Settings
from stepscope.store.cached import CachedStore
from stepscope.store.memory import MemoryStore
from stepscope.store.memory_jobs import MemoryJobs
from stepscope.store.memory_sessions import MemorySessions
from stepscope.store.sql import SqlStore
from stepscope.store.sql_jobs import SqlJobs
from stepscope.store.sql_sessions import SqlSessions
from stepscope.tracing.archive import Archive, ArchiveLimits

FLUSH_S = 1.0
"""How long a predictor's use may wait to be written."""


def build_store(settings: Settings) -> MemoryStore | CachedStore:
    """Build the store of predictors."""
    if settings.store.url == MEMORY:
        return MemoryStore()
    return CachedStore(SqlStore(store_url(settings)), flush_s=min(FLUSH_S, settings.predict.lease_s / 20))


def build_jobs(settings: Settings) -> tuple[Jobs, SessionStore]:
    """Build the queue of jobs, and the store of sessions beside it."""
    limits = JobLimits(payload_bytes=settings.jobs.input_mb * 2**20, result_bytes=settings.jobs.result_mb * 2**20)
    if settings.store.url == MEMORY:
        return Jobs(MemoryJobs(), limits=limits), MemorySessions()
    store = SqlJobs(store_url(settings), settings.store.files)
    return Jobs(store, limits=limits), SqlSessions(store)


def store_url(settings: Settings) -> str:
    """Return where records are kept."""
    return settings.store.url or f"{SQLITE}{settings.models.cache.expanduser() / 'store.sqlite'}"


def prepare(settings: Settings) -> None:
    """Make what processes that start at once would get in each other's way over. Raises `SettingsInvalid`."""
    if settings.store.url != MEMORY:
        asyncio.run(_prepare_store(SqlStore(store_url(settings))))
    if settings.server.processes > 1:
        Archive(traces_file(settings), ArchiveLimits()).close()


async def _prepare_store(store: SqlStore) -> None:
    try:
        await store.start()
    finally:
        await store.stop()
