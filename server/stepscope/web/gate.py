"""Which web pages may call: a browser tells a page's origin, and the name that the page used for this server.

A server on the loopback address without keys is open to every page in the user's browser, unless both are
checked: a form sent across sites needs no permission, and a name can be pointed at 127.0.0.1 (DNS rebinding).
"""

import functools
import ipaddress
from collections.abc import Collection

from stepscope.core.errors import HostRefused, OriginRefused
from stepscope.web.context import Headers


class Gate:
    """Checks `Origin` and `Host`."""

    def __init__(self, origins: Collection[str], names: Collection[str], *, any_name: bool) -> None:
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self._names = frozenset(name.lower() for name in (*names, "localhost"))
        self._any_name = any_name
        self._is_known = functools.lru_cache(maxsize=256)(self._is_ours)

    def check(self, headers: Headers) -> None:
        """Raise `OriginRefused` or `HostRefused` when a page isn't allowed to call."""
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if not self._any_name and not self._is_known(host):
            raise HostRefused(host)
        origin = headers.get(b"origin")
        if origin is not None and not self._may_call(origin.decode("latin-1").lower(), host):
            raise OriginRefused(origin.decode("latin-1"))

    def admit_any_name(self) -> None:
        """Stop asking for known names in `Host`."""
        self._any_name = True

    def _is_ours(self, host: str) -> bool:
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        if not name or name in self._names:
            return True
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True

    def _may_call(self, origin: str, host: str) -> bool:
        _, _, own = origin.partition("://")  # empty for "null", which a page without an origin sends
        return (own != "" and own == host) or origin in self._origins or "*" in self._origins
