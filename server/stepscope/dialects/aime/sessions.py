"""Session keys, which stand for a client's own key, and session variables, which a browser's cookie stands for.

Only digests are kept of both, so the store tells nobody how to be someone else.
"""

import secrets
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from stepscope.core.ports import SessionStore
from stepscope.dialects.aime.endpoints import Endpoint
from stepscope.dialects.aime.keys import digest
from stepscope.dialects.aime.records import read_object, write_json

KEEP_DAYS = 30


class Sessions:
    """What clients were given to come back with."""

    def __init__(self, store: SessionStore, now: Callable[[], datetime] | None = None) -> None:
        self._store = store
        self._now = now or (lambda: datetime.now(UTC))

    async def open(self, client: str) -> str:
        """Return a new session key for a client, which is the digest of its own key."""
        key = str(uuid.uuid4())
        await self._store.put_session(_of_key(key), client.encode(), self._end())
        return key

    async def client(self, key: str) -> str | None:
        """Return the client that a session key was given to, None when it isn't known."""
        found = await self._store.get_session(_of_key(key))
        return None if found is None else found.decode()

    async def variables(self, endpoint: Endpoint, cookie: str) -> dict[str, Any]:
        """Return the values of an endpoint's session variables, for one browser."""
        if not endpoint.session_variables:
            return {}
        kept = await self._kept(cookie)
        return {name: kept.get(name, default) for name, default in endpoint.session_variables.items()}

    async def update(self, endpoint: Endpoint, cookie: str, result: Mapping[str, Any]) -> str | None:
        """Keep the values that a result has for session variables; return the cookie to set, if any."""
        values = {name: result[name] for name in endpoint.session_variables if name in result}
        if not values:
            return None
        kept = await self._kept(cookie)
        cookie = cookie if kept else secrets.token_urlsafe(32)  # one that wasn't given out here isn't taken on
        if kept != kept | values:
            await self._store.put_session(_of_cookie(cookie), write_json(kept | values), self._end())
        return cookie

    async def _kept(self, cookie: str) -> dict[str, Any]:
        return read_object(await self._store.get_session(_of_cookie(cookie))) if cookie else {}

    def _end(self) -> datetime:
        return self._now() + timedelta(days=KEEP_DAYS)


def _of_key(key: str) -> str:
    return digest(f"aime key {key}")


def _of_cookie(cookie: str) -> str:
    return digest(f"aime cookie {cookie}")
