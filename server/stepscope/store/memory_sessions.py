"""Sessions in this process's memory: lost on a restart, honest otherwise."""

from collections.abc import Callable
from datetime import UTC, datetime


class MemorySessions:
    """The `SessionStore` that needs nothing."""

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        self._sessions: dict[str, tuple[bytes, datetime | None]] = {}
        self._now = now or _utc_now

    async def put_session(self, digest: str, value: bytes, expires_at: datetime | None) -> None:
        """Add or replace what belongs to a session."""
        now = self._now()
        self._sessions = {key: kept for key, kept in self._sessions.items() if kept[1] is None or kept[1] > now}
        self._sessions[digest] = value, expires_at

    async def get_session(self, digest: str) -> bytes | None:
        """Return what belongs to a session that hasn't expired, or None."""
        value, expires_at = self._sessions.get(digest, (None, None))
        return None if expires_at is not None and expires_at <= self._now() else value


def _utc_now() -> datetime:
    return datetime.now(UTC)
