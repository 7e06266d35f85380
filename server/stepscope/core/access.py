"""Who asks, and on whose behalf a request runs."""

from dataclasses import dataclass

import msgspec

from stepscope.core.recording import Recorder


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller: the owner of what it opens."""

    name: str


ANONYMOUS = Principal("anonymous")
"""Every caller of a server that has no keys configured."""


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """The trace that a request belongs to: 16 or 32 hex digits, and this request's span in it (16)."""

    trace_id: str
    span_id: str
    parent_id: str = ""
    sampled: bool = True


class RequestContext(msgspec.Struct, kw_only=True):
    """What an operation knows of its request beside the body and the parameters."""

    principal: Principal
    trace: Trace
    request_id: str
    accept: str = ""
    started: float = 0.0
    """When it came, in seconds of `time.perf_counter`."""
    recorder: Recorder | None = None
    """What it is traced with, if it is."""
    location: str = ""
    """Where what the request made can be read, if it made something."""
