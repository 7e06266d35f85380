"""What a request says of itself in its headers: its trace, its id, what it accepts."""

import re
import secrets
import uuid
from collections.abc import Iterable

from stepscope.core.access import ANONYMOUS, RequestContext, Trace

Headers = Iterable[tuple[bytes, bytes]]

KEY = "stepscope.context"
"""Where a request's context stands in its ASGI scope."""

_HEX = re.compile(r"(?:[0-9a-f]{16}){1,2}")
_W3C = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,256}")


def read_context(headers: Headers) -> RequestContext:
    """Build a request's context; an unusable trace or id is replaced by a new one."""
    found = dict(headers)
    request_id = found.get(b"x-request-id", b"").decode("latin-1")
    return RequestContext(
        principal=ANONYMOUS,
        trace=_trace(found),
        request_id=request_id if _REQUEST_ID.fullmatch(request_id) else str(uuid.uuid4()),
        accept=found.get(b"accept", b"").decode("latin-1"),
    )


def trace_headers(context: RequestContext) -> list[tuple[bytes, bytes]]:
    """Return the headers by which a caller goes on with the trace (B3, as the native clients read it)."""
    trace = context.trace
    headers = [
        (b"x-b3-traceid", trace.trace_id.encode()),
        (b"x-b3-spanid", trace.span_id.encode()),
        (b"x-b3-sampled", b"1" if trace.sampled else b"0"),
        (b"x-request-id", context.request_id.encode()),
    ]
    if trace.parent_id:
        headers.append((b"x-b3-parentspanid", trace.parent_id.encode()))
    return headers


def _trace(found: dict[bytes, bytes]) -> Trace:
    trace_id, parent_id, sampled = _b3(found) or _w3c(found) or (secrets.token_hex(16), "", True)
    return Trace(trace_id=trace_id, span_id=secrets.token_hex(8), parent_id=parent_id, sampled=sampled)


def _b3(found: dict[bytes, bytes]) -> tuple[str, str, bool] | None:
    """Read B3 in several headers (https://github.com/openzipkin/b3-propagation)."""
    if b"x-b3-traceid" not in found:
        return None
    trace_id = found[b"x-b3-traceid"].decode("latin-1").strip().lower()
    # Older tracers write the low 64 bits without leading zeros.
    trace_id = trace_id.zfill(16) if len(trace_id) < 16 else trace_id
    parent_id = found.get(b"x-b3-spanid", b"").decode("latin-1").strip().lower().zfill(16)
    if not _HEX.fullmatch(trace_id) or not set(trace_id) - {"0"}:
        return None
    usable_parent = len(parent_id) == 16 and bool(_HEX.fullmatch(parent_id)) and bool(set(parent_id) - {"0"})
    sampled = found.get(b"x-b3-sampled", b"1").strip().lower() not in (b"0", b"false")
    return trace_id, parent_id if usable_parent else "", sampled


def _w3c(found: dict[bytes, bytes]) -> tuple[str, str, bool] | None:
    """Read `traceparent` (https://www.w3.org/TR/trace-context/)."""
    match = _W3C.fullmatch(found.get(b"traceparent", b"").decode("latin-1"))
    if match is None or not set(match[1]) - {"0"} or not set(match[2]) - {"0"}:
        return None
    return match[1], match[2], bool(int(match[3], 16) & 1)
