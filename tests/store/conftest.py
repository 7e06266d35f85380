"""Stores of every kind: in memory, in SQLite and in PostgreSQL; each alone, and as one process sees it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stepscope.core.lifecycle import PredictorRecord
from stepscope.core.predictions import DeviceRef, Options, TraceLevel
from stepscope.store.cached import CachedStore
from stepscope.store.memory import MemoryStore
from stepscope.store.sql import SqlStore

NOW = datetime(2026, 1, 1, 12, 30, 15, 123456, tzinfo=UTC)
OPTIONS = Options(request_id="an id", batch_size=3, trace_level=TraceLevel.FULL_TRACE, device=DeviceRef(), way="eager")


def record(predictor_id: str = "p", lease_s: float = 60.5, used_at: datetime = NOW) -> PredictorRecord:
    return PredictorRecord(
        id=predictor_id,
        owner="ada",
        model_name="lenet",
        model_version="1.0.0",
        device=DeviceRef(kind="cuda", index=1),
        options=OPTIONS,
        lease_s=lease_s,
        opened_at=NOW,
        used_at=used_at,
    )


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'store.sqlite'}"
    return str(request.getfixturevalue("postgresql").new())


@pytest.fixture
async def shared(url: str) -> AsyncIterator[Callable[[], Awaitable[SqlStore]]]:
    """Opens the database once more, as another process would."""
    opened = []

    async def open_store() -> SqlStore:
        store = SqlStore(url)
        await store.start()
        opened.append(store)
        return store

    yield open_store
    for store in opened:
        await store.stop()


@pytest.fixture
async def cached(url: str, clock: Clock) -> AsyncIterator[Callable[[], Awaitable[CachedStore]]]:
    """Opens the database as another process sees it. Uses are written when a test says so."""
    opened = []

    async def open_store(flush_s: float = 3600.0) -> CachedStore:
        store = CachedStore(SqlStore(url), flush_s, clock)
        await store.start()
        opened.append(store)
        return store

    yield open_store
    for store in opened:
        await store.stop()


@pytest.fixture(params=["memory", "sqlite", "postgresql", "cached sqlite", "cached postgresql"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Clock
) -> AsyncIterator[MemoryStore | SqlStore | CachedStore]:
    """Every store that there is."""
    if request.param == "memory":
        yield MemoryStore()
        return
    kind = request.param.rpartition(" ")[2]
    url = f"sqlite:{tmp_path / 'store.sqlite'}" if kind == "sqlite" else request.getfixturevalue("postgresql").new()
    opened: SqlStore | CachedStore = SqlStore(url)
    if request.param.startswith("cached"):
        opened = CachedStore(SqlStore(url), 0.01, clock)
    await opened.start()
    yield opened
    await opened.stop()
