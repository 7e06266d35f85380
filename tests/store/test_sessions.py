"""What every store does alike with sessions."""

import pytest

from stepscope.store import housekeeping
from stepscope.store.links import statement
from stepscope.store.memory_sessions import MemorySessions
from stepscope.store.sql_jobs import SqlJobs
from stepscope.store.sql_sessions import SqlSessions
from tests.store.conftest import NOW, Clock
from tests.store.test_jobs import seconds


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def sessions(request, tmp_path, clock: Clock):
    if request.param == "memory":
        yield MemorySessions(clock)
        return
    url = f"sqlite:{tmp_path / 'store'}" if request.param == "sqlite" else request.getfixturevalue("postgresql").new()
    jobs = SqlJobs(url)
    await jobs.start()
    yield SqlSessions(jobs, clock)
    await jobs.stop()


async def test_a_session_is_kept_until_it_expires(sessions, clock):
    clock.now = NOW
    await sessions.put_session("d", b"\x00value", seconds(10_000))
    await sessions.put_session("e", b"for ever", None)
    assert await sessions.get_session("x") is None
    assert await sessions.get_session("d") == b"\x00value"
    await sessions.put_session("d", b"another", seconds(20_000))
    clock.now = seconds(19_999)
    assert await sessions.get_session("d") == b"another"
    clock.now = seconds(20_000)
    assert await sessions.get_session("d") is None
    assert await sessions.get_session("e") == b"for ever"


async def test_what_has_expired_is_forgotten(sessions):
    if isinstance(sessions, MemorySessions):
        pytest.skip("it is forgotten with the next one")
    jobs = sessions._jobs
    await sessions.put_session("d", b"", NOW)
    await sessions.put_session("e", b"", None)
    await jobs.writer.ask(lambda link: housekeeping.tidy(link, jobs._bodies, NOW))
    assert await jobs.reader.ask(lambda link: link.rows(ALL)) == [("e",)]


ALL = statement("SELECT digest FROM sessions")
