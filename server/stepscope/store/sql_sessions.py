"""Sessions in a SQL database, beside the jobs."""

from collections.abc import Callable
from datetime import UTC, datetime

from stepscope.store.links import Link, statement
from stepscope.store.sql_jobs import SqlJobs
from stepscope.store.tables import microseconds

_PUT = statement(
    "INSERT INTO sessions (digest, value, expires_us) VALUES (:digest, :value, :expires_us) "
    "ON CONFLICT (digest) DO UPDATE SET value = excluded.value, expires_us = excluded.expires_us"
)
_GET = statement(
    "SELECT value FROM sessions WHERE digest = :digest AND (expires_us IS NULL OR expires_us > CAST(:now_us AS BIGINT))"
)


class SqlSessions:
    """The `SessionStore` in the jobs' database; it works from the jobs' start to their end."""

    def __init__(self, jobs: SqlJobs, now: Callable[[], datetime] | None = None) -> None:
        self._jobs = jobs
        self._now = now or _utc_now

    async def put_session(self, digest: str, value: bytes, expires_at: datetime | None) -> None:
        """Add or replace what belongs to a session."""
        row = {"digest": digest, "value": value, "expires_us": None if expires_at is None else microseconds(expires_at)}

        def put(link: Link) -> None:
            link.run(_PUT, **row)

        await self._jobs.writer.ask(put)

    async def get_session(self, digest: str) -> bytes | None:
        """Return what belongs to a session that hasn't expired, or None."""
        now_us = microseconds(self._now())
        rows = await self._jobs.reader.ask(lambda link: link.rows(_GET, digest=digest, now_us=now_us))
        return rows[0][0] if rows else None


def _utc_now() -> datetime:
    return datetime.now(UTC)
