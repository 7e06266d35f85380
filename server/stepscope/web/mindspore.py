"""The mindspore wire over HTTP: verbs, limits and statuses. What is said stands in `dialects.mindspore`.

It stands beside the contract's operations, since it tells its errors by the body, and has words for paths, verbs and
bodies that no operation would ever see. The keys are asked for as everywhere.
"""

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from stepscope.core.access import RequestContext
from stepscope.core.errors import AccessDenied, BodyTooLarge
from stepscope.dialects.mindspore.answers import write_error
from stepscope.dialects.mindspore.instances import ONLY_POST, Instances, too_large
from stepscope.dialects.mindspore.refusals import Kind, Refusal
from stepscope.dialects.mindspore.targets import owns
from stepscope.web.auth import Authenticator
from stepscope.web.bodies import read_body
from stepscope.web.connected import while_connected
from stepscope.web.context import HEADERS, KEY, trace_headers
from stepscope.web.operation import log
from stepscope.web.problems import send_problem

STATUSES = {
    Kind.VERB: 405,
    Kind.REQUEST: 400,
    Kind.TOO_LARGE: 413,
    Kind.NOT_FOUND: 404,
    Kind.OVERLOADED: 503,
    Kind.STOPPING: 503,
    Kind.LATE: 504,
    Kind.FAILED: 500,
}
"""What each kind of refusal is in HTTP, for servers that are set to say so."""
KNOWN_VERBS = ("GET", "HEAD", "PUT", "DELETE")
"""Verbs that are told to be POST; others aren't implemented."""


class MindsporeApp:
    """Answers what is this wire's. `http_status` tells refusals by the status too, not by the body alone."""

    guarded = True

    def __init__(self, instances: Instances, auth: Authenticator, *, max_body_bytes: int, http_status: bool) -> None:
        self._instances = instances
        self._auth = auth
        self.max_body_bytes = max_body_bytes
        self._http_status = http_status

    def owns(self, method: str, path: str) -> bool:
        """Say whether a request is this wire's. `GET /version` isn't; it is an operation of the contract."""
        return owns(path) or (path == "/version" and method == "POST")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        context: RequestContext = scope[KEY]
        try:
            context.principal = self._auth.authenticate(scope[HEADERS].get(b"authorization"))
            status, body = 200, await self._answer(scope, receive, context)
        except AccessDenied as refused:
            await send_problem(send, refused, context)
            return
        except ClientDisconnect:
            return
        except Refusal as refusal:
            status, body = self._status(scope["method"], refusal.kind), write_error(str(refusal))
        except Exception:
            log.exception("trace %s: %r failed", context.trace.trace_id, scope["path"])
            status, body = STATUSES[Kind.FAILED], write_error("Failed to construct the response")
        headers = trace_headers(context)
        headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive, context: RequestContext) -> bytes:
        if scope["method"] != "POST":
            raise Refusal(ONLY_POST, Kind.VERB)
        try:
            body = await read_body(scope[HEADERS], receive, self.max_body_bytes)
        except BodyTooLarge as fault:
            raise too_large(fault) from None
        return await while_connected(self._instances.answer(context, scope["path"], body), receive)

    def _status(self, method: str, kind: Kind) -> int:
        if kind is Kind.VERB and method not in KNOWN_VERBS:
            return 501
        return STATUSES[kind] if self._http_status else 200
