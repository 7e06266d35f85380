"""Large payloads and results: kept once, as long as a job refers to them, and readable by every process."""

from datetime import UTC, datetime, timedelta

import pytest

from stepscope.core.jobs import JobState
from stepscope.store import housekeeping
from stepscope.store.bodies import INLINE_BYTES, UNUSED_S
from stepscope.store.links import statement
from stepscope.store.sql_jobs import LOST_PAYLOAD, SqlJobs
from tests.store.test_jobs import claim, ending, new, seconds

LARGE = b"\x01" * (INLINE_BYTES + 1)


@pytest.fixture(params=["sqlite", "postgresql", "postgresql with files"])
async def place(request, tmp_path):
    """A store, where its files are if it has some, and the same store in another process."""
    url = f"sqlite:{tmp_path / 'store'}" if request.param == "sqlite" else request.getfixturevalue("postgresql").new()
    folder = tmp_path / ("store-files" if request.param == "sqlite" else "shared")
    stores = [SqlJobs(url, folder if request.param == "postgresql with files" else None) for _ in range(2)]
    for store in stores:
        await store.start()
    yield *stores, None if request.param == "postgresql" else folder
    for store in stores:
        await store.stop()


async def bodies(store, folder):
    rows = await store.reader.ask(lambda link: link.rows(ALL))
    if folder is not None:
        assert sorted(path.name for path in folder.iterdir()) == sorted(digest for (digest,) in rows)
    return len(rows)


ALL = statement("SELECT digest FROM bodies")


async def tidied(store, after_s):
    now = datetime.now(UTC) + timedelta(seconds=after_s)
    await store.writer.ask(lambda link: housekeeping.tidy(link, store._bodies, now))


async def test_equal_ones_are_kept_once_and_every_process_reads_them(place):
    here, there, folder = place
    for job_id in "ab":
        await here.add_job(new(job_id, payload=LARGE))
    assert await bodies(here, folder) == 1
    for job_id in "ab":
        [(job, payload)] = await there.claim_jobs(claim())
        assert (job.id, payload) == (job_id, LARGE)
        await there.end_job(job_id, ending(result=LARGE * 2))
        assert await here.get_result(job_id) == LARGE * 2
    assert await bodies(here, folder) == 2


async def test_one_goes_when_nothing_refers_to_it_any_more(place):
    store, _, folder = place
    await store.add_job(new("a", payload=LARGE))
    await tidied(store, UNUSED_S + 5)
    assert await bodies(store, folder) == 1
    await store.claim_jobs(claim())
    await store.end_job("a", ending(result=LARGE * 2))
    await tidied(store, UNUSED_S / 2)  # it may be kept for a job that isn't written yet
    assert await bodies(store, folder) == 2
    await tidied(store, UNUSED_S + 5)
    assert await bodies(store, folder) == 1
    assert await store.get_result("a") == LARGE * 2
    await store.sweep_jobs(seconds(10_000))
    await tidied(store, UNUSED_S + 5)
    assert await bodies(store, folder) == 0


async def test_what_is_kept_again_stays(place):
    store, _, folder = place
    now = datetime.now(UTC)
    await store._bodies.keep(LARGE, now)
    await store._bodies.keep(LARGE, now + timedelta(seconds=UNUSED_S))
    await tidied(store, UNUSED_S + 5)
    assert await bodies(store, folder) == 1


async def test_a_job_whose_payload_is_lost_fails_and_says_so(place, caplog):
    store, _, folder = place
    if folder is None:
        pytest.skip("rows aren't lost")
    await store.add_job(new("a", payload=LARGE))
    for path in folder.iterdir():
        path.unlink()
    assert await store.claim_jobs(claim()) == []
    job = await store.get_job("a")
    assert (job.state, job.error) == (JobState.FAILED, LOST_PAYLOAD)
    await store.add_job(new("b", payload=LARGE))  # the same again
    assert [(job.id, payload) for job, payload in await store.claim_jobs(claim())] == [("b", LARGE)]


async def test_a_small_one_has_no_file(place):
    store, _, folder = place
    await store.add_job(new("a", payload=LARGE[1:]))
    assert await bodies(store, folder) == 0
