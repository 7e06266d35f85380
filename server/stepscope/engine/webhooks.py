"""Tells others that a job has ended: a POST, repeated with growing pauses until somebody takes it.

A notice is a job itself, of the kind `webhook`, so that it outlives this server and no other job waits for it. It is
queued just before its job ends, and begins by waiting for that end. Each try is an attempt; between two of them it is
left alone, so that however many wait for their next try, others are told.
"""

import hashlib
import hmac
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from stepscope.core.errors import JobNotFound, NoticeUntaken, UrlFailed
from stepscope.core.jobs import Job, NewJob
from stepscope.engine.fetch import Fetcher
from stepscope.engine.jobs import Jobs
from stepscope.engine.runner import Later, Tell

log = logging.getLogger("stepscope.webhooks")

KIND = "webhook"
AT_ONCE = 64
"""Notices that one server sends at a time."""
PAUSES_S = (1.0, 5.0, 30.0, 120.0, 600.0, 1800.0)
"""The waits between tries."""
KEEP_S = 3600.0
LOSSES = 100
"""Servers that may be lost over a notice, besides its tries."""

Render = Callable[[Job], bytes]
"""Writes an ended job as its owner would read it."""


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """Where the end of a job is told, and the secret that signs it."""

    url: str
    secret: str = ""


class _Notice(msgspec.Struct, frozen=True, kw_only=True):
    job_id: str
    webhook: Webhook


class Webhooks:
    """Queues notices and delivers them."""

    def __init__(self, jobs: Jobs, fetcher: Fetcher, render: Render, pauses_s: Sequence[float] = PAUSES_S) -> None:
        self._jobs = jobs
        self._fetcher = fetcher
        self._render = render
        self._pauses_s = pauses_s

    def check(self, webhook: Webhook) -> None:
        """Raise `UrlRefused` for one that would never be called."""
        self._fetcher.check(webhook.url)

    async def promise(self, job: Job, webhook: Webhook) -> None:
        """Queue the notice of a job's end; once, however often it is asked for."""
        now = datetime.now(UTC)
        notice = NewJob(
            id=f"{job.id}-{KIND}",
            owner=job.owner,
            kind=KIND,
            payload=msgspec.json.encode(_Notice(job_id=job.id, webhook=webhook)),
            key=f"{KIND} {job.id}",
            created_at=now,
            expires_at=max(job.expires_at, now) + timedelta(seconds=2 * sum(self._pauses_s) + KEEP_S),
            keep_s=KEEP_S,
            max_attempts=len(self._pauses_s) + 1 + LOSSES,
        )
        await self._jobs.submit(notice)

    async def deliver(self, notice: Job, payload: bytes, _: Tell) -> bytes:
        """Wait for the job's end, and try to tell it. Does the work of a `Runner`."""
        told = msgspec.json.decode(payload, type=_Notice)
        job = await self._jobs.ended(told.job_id)
        if job is None:
            raise JobNotFound(told.job_id)
        body = self._render(job)
        headers = {"Content-Type": "application/json", "X-Stepscope-Delivery": notice.id}
        if told.webhook.secret:
            headers["X-Stepscope-Signature"] = f"sha256={sign(body, told.webhook.secret)}"
        if await self._taken(told.webhook.url, body, headers, job.owner):
            return b""
        if notice.attempts <= len(self._pauses_s):
            raise Later(self._pauses_s[notice.attempts - 1])
        log.warning("nobody took the notice of job %s", job.id)
        raise NoticeUntaken(len(self._pauses_s) + 1)

    async def _taken(self, url: str, body: bytes, headers: dict[str, str], owner: str) -> bool:
        try:
            return 200 <= await self._fetcher.post(url, body, headers, owner=owner) < 300
        except UrlFailed:
            return False


def sign(body: bytes, secret: str) -> str:
    """Return a body's HMAC-SHA256 (RFC 2104) in hex."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
