"""One request of the aime wire: its query, cookie, key and body, and how errors are told."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope

from stepscope.core.errors import BodyTooLarge, JobTooLarge, MalformedBody, MethodNotAllowed, Refused, RouteNotFound
from stepscope.dialects.aime.endpoints import Endpoint
from stepscope.dialects.aime.openai import OpenAiRefusal
from stepscope.dialects.aime.records import read_json
from stepscope.dialects.aime.refusals import Refusal
from stepscope.dialects.aime.workers import Stopping
from stepscope.web.bodies import read_body
from stepscope.web.context import HEADERS, KEY
from stepscope.web.operation import log

COOKIE_S = 30 * 86_400

Body = Mapping[str, Any] | list[Any]
Headers = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Call:
    """One request."""

    scope: Scope
    receive: Receive
    max_body_bytes: int
    endpoint: Endpoint | None = None

    @property
    def headers(self) -> Mapping[bytes, bytes]:
        """Its headers."""
        headers: Mapping[bytes, bytes] = self.scope[HEADERS]
        return headers

    @property
    def query(self) -> dict[str, str]:
        """Its query: of a name given twice the first value counts; empty ones aren't there."""
        pairs = parse_qsl(self.scope["query_string"].decode("latin-1"), errors="replace")
        return dict(reversed(pairs))

    @property
    def cookie(self) -> str:
        """The browser's session."""
        given = self.headers.get(b"cookie")
        if given is None:
            return ""
        cookies: SimpleCookie = SimpleCookie()
        with suppress(CookieError):
            cookies.load(given.decode("latin-1"))
        return cookies["session"].value if "session" in cookies else ""

    @property
    def bearer(self) -> str:
        """The key in its `Authorization`."""
        scheme, _, key = self.headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        return key.strip() if scheme.lower() == "bearer" else ""

    async def body(self) -> Any:
        """Read its JSON; None when there is nothing. Raises `BodyTooLarge`, `MalformedBody`."""
        body = await read_body(self.headers, self.receive, self.max_body_bytes)
        return read_json(body) if body.strip() else None

    async def given(self) -> dict[str, Any]:
        """Return the parameters: a body's, or the query's where there is none."""
        body = None if self.scope["method"] == "GET" else await self.body()
        if body is None:
            return self.query
        if not isinstance(body, dict):
            raise Refusal(["The body has to be a JSON object"])
        return body


def told(fault: Exception, call: Call) -> tuple[int, Body, Headers]:
    """Return how an error is told: the status, the body, and headers of its own."""
    version = {"ep_version": call.endpoint.version} if call.endpoint is not None else {}
    match fault:
        case Refusal():
            return fault.kind.value, {"success": False, "error": fault.error, **version, **fault.told}, []
        case OpenAiRefusal():
            return fault.status, fault.body(), []
        case Refused():
            wait = [(b"retry-after", b"%d" % max(1, round(fault.retry_after_s)))]
            return 503, {"success": False, **_warning(str(fault)), **version}, wait
        case Stopping():
            return 503, {"success": False, **_warning("The server is about to stop"), **version}, []
    return _told_plainly(fault, call)


def _told_plainly(fault: Exception, call: Call) -> tuple[int, Body, Headers]:
    match fault:
        case MalformedBody():
            return _plainly(400, str(fault))
        case BodyTooLarge() | JobTooLarge():
            return _plainly(413, str(fault))
        case RouteNotFound():
            return _plainly(404, str(fault))
        case MethodNotAllowed():
            allowed = (b"allow", ", ".join(fault.allowed).encode())
            return _plainly(405, str(fault), allowed)
    log.error("trace %s: %r failed", call.scope[KEY].trace.trace_id, call.scope["path"], exc_info=fault)
    return _plainly(500, "The server failed on this request")


def _plainly(status: int, message: str, *headers: tuple[bytes, bytes]) -> tuple[int, Body, Headers]:
    body = {"description": HTTPStatus(status).phrase, "status": status, "message": message}
    return status, body, list(headers)


def _warning(reason: str) -> dict[str, str]:
    """Return what workers and clients read, each under its own name."""
    return {"cmd": "warning", "msg": reason, "error": reason}


def preflight(call: Call) -> Headers:
    """Return what a browser wants to know before it lets a page of another origin ask."""
    wanted = call.headers.get(b"access-control-request-headers", b"content-type, authorization")
    return [
        (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS"),
        (b"access-control-allow-headers", wanted),
        (b"access-control-max-age", b"86400"),
        (b"vary", b"Access-Control-Request-Headers"),
    ]


def set_cookie(value: str | None, scope: Scope) -> Headers:
    """Return the header that keeps a browser's session, if there is one to keep."""
    if value is None:
        return []
    secure = "; Secure" if scope["scheme"] == "https" else ""
    cookie = f"session={value}; Path=/; Max-Age={COOKIE_S}; HttpOnly; SameSite=Lax{secure}"
    return [(b"set-cookie", cookie.encode())]
