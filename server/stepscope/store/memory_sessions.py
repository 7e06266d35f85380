"""Sessions in this process's memory: lost on a restart."""

from collections.abc import Callable
from datetime import UTC, datetime

PURGE_EVERY = 1000
"""After so many new entries the expired ones are taken out."""


class MemorySessions:
    """The `SessionStore` that needs nothing."""

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        self._now = now or (lambda: datetime.now(UTC))
        self._sessions: dict[str, tuple[bytes, datetime | None]] = {}
        self._puts = 0

    async def put_session(self, digest: str, value: bytes, expires_at: datetime | None) -> None:
        """Add or replace what belongs to a session."""
        self._sessions[digest] = (value, expires_at)
        self._puts += 1
        if self._puts % PURGE_EVERY == 0:
            self._sessions = {key: kept for key, kept in self._sessions.items() if not self._is_over(kept[1])}

    async def get_session(self, digest: str) -> bytes | None:
        """Return what belongs to a session that hasn't expired, or None."""
        value, expires_at = self._sessions.get(digest, (None, None))
        return None if self._is_over(expires_at) else value

    def _is_over(self, expires_at: datetime | None) -> bool:
        return expires_at is not None and expires_at <= self._now()
