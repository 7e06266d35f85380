"""Notices of jobs' ends: guarded, signed, repeated, and never in a job's way."""

import asyncio
import contextlib
import hashlib
import hmac
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from stepscope.core.errors import NoticeUntaken, UrlFailed, UrlRefused
from stepscope.core.jobs import JobState, NewJob, Report
from stepscope.engine.fetch import Fetcher, FetchLimits
from stepscope.engine.jobs import Jobs
from stepscope.engine.runner import Runner
from stepscope.engine.webhooks import KIND, Webhook, Webhooks, sign
from stepscope.store.memory_jobs import MemoryJobs

SECRET = "between us alone"


class Hook:
    """A server that takes notices, or refuses the first ones."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.taken: list[tuple[dict[str, str], bytes]] = []
        self.heard = asyncio.Event()
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        status = self.statuses.pop(0) if self.statuses else 204
        self.taken.append((dict(request.headers), await request.read()))
        self.heard.set()
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 302 else None)


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    hook = Hook()
    app = web.Application()
    app.router.add_post("/{any}", hook.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    hook.url = f"http://127.0.0.1:{runner.addresses[0][1]}/done"
    yield hook
    await runner.cleanup()


@pytest.fixture
async def jobs() -> AsyncIterator[Jobs]:
    jobs = Jobs(MemoryJobs())
    await jobs.start()
    async with asyncio.timeout(60):
        yield jobs
    await jobs.stop()


@pytest.fixture(autouse=True)
def _swept_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepscope.engine.jobs.SWEEP_S", 0.02)


@contextlib.asynccontextmanager
async def delivering(jobs: Jobs, hook: Hook, pauses_s=(0.0, 0.0)) -> AsyncIterator[Webhooks]:
    host = hook.url.removeprefix("http://").partition("/")[0]
    async with Fetcher(FetchLimits(allow_hosts=(host,), total_s=5.0)) as fetcher:
        webhooks = Webhooks(jobs, fetcher, lambda job: f"{job.id} {job.state.value}".encode(), pauses_s)
        runner = Runner(jobs, KIND, webhooks.deliver, at_once=4)
        runner.start()
        yield webhooks
        await runner.stop()


async def submitted(jobs, name="a"):
    now = datetime.now(UTC)
    later = now + timedelta(hours=1)
    return await jobs.submit(NewJob(id=name, owner="ada", kind="k", payload=b"", created_at=now, expires_at=later))


async def test_an_end_is_told_signed_and_once(jobs, hook):
    async with delivering(jobs, hook) as webhooks:
        job = await submitted(jobs)
        for _ in range(2):
            await webhooks.promise(job, Webhook(url=hook.url, secret=SECRET))
        assert not hook.heard.is_set(), "it hasn't ended"
        await jobs.cancel("a")
        await jobs.ended("a-webhook")
    [(headers, body)] = hook.taken
    assert body == b"a cancelled"
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert headers["X-Stepscope-Signature"] == f"sha256={signature}"
    assert headers["Content-Type"] == "application/json"


async def test_without_a_secret_nothing_is_signed(jobs, hook):
    async with delivering(jobs, hook) as webhooks:
        await webhooks.promise(await submitted(jobs), Webhook(url=hook.url))
        await jobs.cancel("a")
        await jobs.ended("a-webhook")
    assert "X-Stepscope-Signature" not in hook.taken[0][0]


@pytest.mark.parametrize("status", [500, 404, 302])
async def test_it_is_told_again_until_somebody_takes_it(jobs, hook, status):
    hook.statuses = [status, status]
    async with delivering(jobs, hook) as webhooks:
        await webhooks.promise(await submitted(jobs), Webhook(url=hook.url))
        await jobs.cancel("a")
        notice = await jobs.ended("a-webhook")
    assert notice.state is JobState.DONE
    assert len(hook.taken) == 3
    assert len({headers["X-Stepscope-Delivery"] for headers, _ in hook.taken}) == 1


async def test_it_is_given_up_in_the_end(jobs, hook):
    hook.statuses = [500] * 9
    async with delivering(jobs, hook) as webhooks:
        await webhooks.promise(await submitted(jobs), Webhook(url=hook.url))
        await jobs.cancel("a")
        notice = await jobs.ended("a-webhook")
    assert (notice.state, notice.error) == (JobState.FAILED, str(NoticeUntaken(3)))
    assert len(hook.taken) == 3


async def test_a_stop_between_two_tries_leaves_the_notice_for_the_next_server(jobs, hook):
    hook.statuses = [503]
    async with delivering(jobs, hook, pauses_s=(1.0,)) as webhooks:
        await webhooks.promise(await submitted(jobs), Webhook(url=hook.url))
        await jobs.cancel("a")
        await hook.heard.wait()
    notice = await jobs.get("a-webhook")
    assert notice is not None
    assert not notice.state.is_final
    async with delivering(jobs, hook, pauses_s=(1.0,)):
        notice = await jobs.ended("a-webhook")
    assert notice.state is JobState.DONE
    assert len(hook.taken) == 2


async def test_notices_that_wait_for_their_next_try_hold_up_no_other(jobs, hook):
    async with delivering(jobs, hook, pauses_s=(3600.0,)) as webhooks:
        hook.statuses = [503] * 9
        for number in range(9):  # more than are sent at a time
            await webhooks.promise(await submitted(jobs, f"a{number}"), Webhook(url=hook.url))
            await jobs.cancel(f"a{number}")
        while hook.statuses:
            hook.heard.clear()
            await hook.heard.wait()
        await webhooks.promise(await submitted(jobs, "b"), Webhook(url=hook.url))
        await jobs.cancel("b")
        notice = await jobs.ended("b-webhook", 10)
    assert notice.state is JobState.DONE


async def test_servers_that_are_lost_cost_a_notice_no_more_than_tries(jobs, hook):
    webhooks = Webhooks(jobs, Fetcher(FetchLimits()), lambda _: b"", pauses_s=(0.0,))
    await webhooks.promise(await submitted(jobs), Webhook(url=hook.url))
    await jobs.cancel("a")
    for _ in range(10):
        [(notice, _)] = await jobs.claim(KIND, "lost", 1, 5)
        await jobs.report([Report(job_id=notice.id, worker="lost", now=datetime.now(UTC), lease_s=0.0)])
    async with delivering(jobs, hook):
        told = await jobs.ended("a-webhook")
    assert told.state is JobState.DONE


async def test_a_private_address_is_never_called(hook):
    async with Fetcher(FetchLimits(ports=(80, 443, int(hook.url.rpartition(":")[2].partition("/")[0])))) as fetcher:
        with pytest.raises((UrlRefused, UrlFailed)):
            await fetcher.post(hook.url, b"", {})
        for url in ("file:///etc/passwd", "http://user@example.com/", "ftp://example.com/"):
            with pytest.raises(UrlRefused):
                fetcher.check(url)
    assert hook.taken == []


def test_signatures_are_rfc_2104s():
    # RFC 4231, test case 2.
    wanted = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert sign(b"what do ya want for nothing?", "Jefe") == wanted
