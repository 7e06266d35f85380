"""What a request says of itself in its headers: its trace, its id, what it accepts."""

import random
import re
import time
from collections.abc import Mapping

from stepscope.core.access import ANONYMOUS, RequestContext, Trace

Headers = Mapping[bytes, bytes]
"""A request's headers by their lower-case names; of repeated ones the last."""

KEY = "stepscope.context"
"""Where a request's context stands in its ASGI scope."""
HEADERS = "stepscope.headers"
"""Where a request's `Headers` stand in its ASGI scope."""

_random = random.Random().getrandbits  # noqa: S311 - ids that needn't be secret; seeded by the system
_TRACE_ID = re.compile(r"(?!0+$)(?:[0-9a-f]{16}){1,2}")
_SPAN_ID = re.compile(r"(?!0+$)[0-9a-f]{16}")
_W3C = re.compile(r"(?!ff)([0-9a-f]{2})-((?!0+-)[0-9a-f]{32})-((?!0+-)[0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,256}")


def read_context(headers: Headers) -> RequestContext:
    """Build a request's context; an unusable trace or id is replaced by a new one."""
    # No secrets, so no system call: it would hand the interpreter to the device's thread in the middle of a request.
    fresh = f"{_random(320):080x}"
    trace_id, parent_id, sampled = _b3(headers) or _w3c(headers) or (fresh[:32], "", True)
    return RequestContext(
        principal=ANONYMOUS,
        trace=Trace(trace_id=trace_id, span_id=fresh[32:48], parent_id=parent_id, sampled=sampled),
        request_id=_request_id(headers) or _uuid(fresh[48:]),
        accept=headers.get(b"accept", b"").decode("latin-1"),
        started=time.perf_counter(),
    )


def trace_headers(context: RequestContext) -> list[tuple[bytes, bytes]]:
    """Return the headers by which a caller goes on with the trace: B3, as the native clients read it, and W3C's."""
    trace = context.trace
    sampled = b"0" if context.recorder is None else b"1"
    headers = [
        (b"x-b3-traceid", trace.trace_id.encode()),
        (b"x-b3-spanid", trace.span_id.encode()),
        (b"x-b3-sampled", sampled),
        (b"traceparent", f"00-{trace.trace_id:0>32}-{trace.span_id}-0".encode() + sampled),
        (b"x-request-id", context.request_id.encode()),
    ]
    if trace.parent_id:
        headers.append((b"x-b3-parentspanid", trace.parent_id.encode()))
    return headers


def _request_id(headers: Headers) -> str:
    given = headers.get(b"x-request-id")
    if given is None:
        return ""
    text = given.decode("latin-1")
    return text if _REQUEST_ID.fullmatch(text) else ""


def _uuid(digits: str) -> str:
    """Return 32 random hex digits as a UUID of version 4 (RFC 9562, section 5.4)."""
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def _b3(headers: Headers) -> tuple[str, str, bool] | None:
    """Read B3 in several headers (https://github.com/openzipkin/b3-propagation)."""
    given = headers.get(b"x-b3-traceid")
    if given is None:
        return None
    # Older tracers write the low 64 bits without leading zeros.
    trace_id = _digits(given)
    if not _TRACE_ID.fullmatch(trace_id):
        return None
    parent_id = _digits(headers.get(b"x-b3-spanid", b""))
    sampled = headers.get(b"x-b3-sampled", b"1").strip().lower() not in (b"0", b"false")
    return trace_id, parent_id if _SPAN_ID.fullmatch(parent_id) else "", sampled


def _digits(header: bytes) -> str:
    return header.decode("latin-1").strip().lower().zfill(16)


def _w3c(headers: Headers) -> tuple[str, str, bool] | None:
    """Read `traceparent` (https://www.w3.org/TR/trace-context/)."""
    given = headers.get(b"traceparent")
    match = _W3C.fullmatch(given.decode("latin-1").strip()) if given else None
    if match is None or (match[1] == "00" and match[5]):  # only later versions may go on after the flags
        return None
    return match[2], match[3], bool(int(match[4], 16) & 1)
