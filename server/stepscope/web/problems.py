"""Errors as `application/problem+json` (RFC 9457): one table, error -> (status, type, title)."""

from collections.abc import Mapping
from math import ceil
from typing import NamedTuple

import msgspec
from starlette.exceptions import HTTPException
from starlette.types import Send

from stepscope.core import errors
from stepscope.core.access import RequestContext
from stepscope.web.context import trace_headers
from stepscope_api.models import FeaturesResponse, Problem

MEDIA_TYPE = "application/problem+json"


class Entry(NamedTuple):
    """How an error is told over HTTP."""

    status: int
    name: str
    title: str

    @property
    def type(self) -> str:
        """The problem's type: a URN that stays the same between versions."""
        return f"urn:stepscope:problem:{self.name}"


PROBLEMS: Mapping[type[errors.StepscopeError], Entry] = {
    errors.MalformedBody: Entry(400, "malformed-body", "Malformed body"),
    errors.InvalidField: Entry(422, "invalid-field", "Invalid field"),
    errors.BodyTooLarge: Entry(413, "body-too-large", "Body too large"),
    errors.JobTooLarge: Entry(413, "job-too-large", "Job too large"),
    errors.TooManyInputs: Entry(413, "too-many-inputs", "Too many inputs"),
    errors.UnsupportedMediaType: Entry(415, "unsupported-media-type", "Unsupported media type"),
    errors.NotAcceptable: Entry(406, "not-acceptable", "Not acceptable"),
    errors.KeyReused: Entry(422, "idempotency-key-reused", "Idempotency key reused"),
    errors.RouteNotFound: Entry(404, "route-not-found", "No such operation"),
    errors.MethodNotAllowed: Entry(405, "method-not-allowed", "Method not allowed"),
    errors.ModelNotFound: Entry(404, "model-not-found", "Model not found"),
    errors.FrameworkNotFound: Entry(404, "framework-not-found", "Framework not found"),
    errors.DatasetNotFound: Entry(404, "dataset-not-found", "Dataset not found"),
    errors.PredictorNotFound: Entry(404, "predictor-not-found", "Predictor not found"),
    errors.PredictorExpired: Entry(404, "predictor-expired", "Predictor expired"),
    errors.TraceNotFound: Entry(404, "trace-not-found", "Trace not found"),
    errors.JobNotFound: Entry(404, "job-not-found", "Job not found"),
    errors.JobNotEnded: Entry(409, "job-not-ended", "Job not ended"),
    errors.JobWithoutResult: Entry(409, "job-without-result", "Job without result"),
    errors.CredentialsMissing: Entry(401, "credentials-missing", "Credentials missing"),
    errors.CredentialsInvalid: Entry(401, "credentials-invalid", "Credentials invalid"),
    errors.OriginRefused: Entry(403, "origin-refused", "Origin refused"),
    errors.HostRefused: Entry(403, "host-refused", "Host refused"),
    errors.Overloaded: Entry(503, "overloaded", "Overloaded"),
    errors.TooManyRequests: Entry(429, "too-many-requests", "Too many requests"),
    errors.ShuttingDown: Entry(503, "shutting-down", "Shutting down"),
    errors.JobQueueFull: Entry(429, "job-queue-full", "Job queue full"),
    errors.StoreUnavailable: Entry(503, "store-unavailable", "Store unavailable"),
    errors.DeadlineExceeded: Entry(504, "deadline-exceeded", "Deadline exceeded"),
    errors.ModelUnavailable: Entry(503, "model-unavailable", "Model unavailable"),
    errors.InternalFailure: Entry(500, "internal-failure", "Internal failure"),
    # One input of one: a body that is itself the input has nowhere else to carry its error.
    errors.InputFailed: Entry(422, "invalid-input", "Invalid input"),
}


def entry_of(error: errors.StepscopeError) -> Entry:
    """Return how an error is told: by its own class, or the nearest one above."""
    for kind in type(error).__mro__:
        if kind in PROBLEMS:
            return PROBLEMS[kind]
    return PROBLEMS[errors.InternalFailure]


def problem(error: errors.StepscopeError, trace_id: str) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    """Return an error's status, body and extra headers."""
    entry = entry_of(error)
    body = Problem(
        type=entry.type,
        title=entry.title,
        status=entry.status,
        detail=str(error),
        trace_id=trace_id,
        pointer=getattr(error, "pointer", None) or msgspec.UNSET,
        known=list(getattr(error, "known", None) or getattr(error, "near", None) or ()) or msgspec.UNSET,
        partial=_partial(error),
    )
    return entry.status, msgspec.json.encode(body), _headers(error)


async def send_problem(send: Send, error: errors.StepscopeError, context: RequestContext) -> None:
    """Answer a request with an error."""
    status, body, extra = problem(error, context.trace.trace_id)
    told = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", b"%d" % len(body))]
    headers = [*told, *extra, *trace_headers(context)]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def from_routing(error: HTTPException, method: str, path: str) -> errors.StepscopeError:
    """Return a router's refusal as an error of ours: an unknown path, or a known one with another method."""
    if error.status_code == 405:
        named = (error.headers or {}).get("Allow", "GET, HEAD")  # files of a folder name none
        allowed = named.replace(" ", "").split(",")
        return errors.MethodNotAllowed(method, sorted(allowed))
    return errors.RouteNotFound(path)


def _partial(error: errors.StepscopeError) -> FeaturesResponse | msgspec.UnsetType:
    partial = error.partial if isinstance(error, errors.DeadlineExceeded) else None
    return partial if isinstance(partial, FeaturesResponse) else msgspec.UNSET


def _headers(error: errors.StepscopeError) -> list[tuple[bytes, bytes]]:
    if isinstance(error, errors.Refused):
        return [(b"retry-after", b"%d" % max(1, ceil(error.retry_after_s)))]
    if isinstance(error, errors.MethodNotAllowed):
        return [(b"allow", ", ".join(error.allowed).encode())]
    if isinstance(error, errors.CredentialsMissing | errors.CredentialsInvalid):
        return [(b"www-authenticate", b"Bearer")]
    return []
