"""Everything that can go wrong, as one tree.

    ClientError
    ├── ArgumentInvalid         an argument isn't one that the contract allows; nothing was sent
    ├── ServerUnreachable       no connection, or it broke before the answer
    │   └── AnswerTimedOut        the answer took longer than `timeout_s`
    ├── AnswerUnreadable        something answered, but not as the contract says
    ├── InputFailed             the best feature was asked of an input that has none
    ├── JobFailed               a result was asked of a job that ended without one
    └── ProblemError            the server answered with a problem (RFC 9457)
        ├── InvalidRequest        400, 406, 413, 415, 422
        ├── AccessDenied          401, 403
        ├── Conflict              409: a job that hasn't ended, or has no result
        ├── NotFound              404, 405; `kind` tells a predictor that expired from one that never was
        ├── Overloaded            429, 503; `retry_after_s` says when to come back
        │   └── ModelUnavailable    503: the model is known, but can't be loaded
        ├── DeadlineExceeded      504; `partial` holds what was done
        └── ServerFailed          other 5xx

A problem without a status of its own here, such as a redirect, is a plain `ProblemError`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stepscope_client.results import Result


class ClientError(Exception):
    """Something went wrong; `str()` of it is one line that says what."""


class ArgumentInvalid(ClientError, ValueError):
    """An argument isn't one that the contract allows. Nothing was sent."""


class ServerUnreachable(ClientError):
    """There is no connection to the server, or it broke before the answer was there."""


class AnswerTimedOut(ServerUnreachable):
    """The server didn't answer in time. It may still be at work on the request."""


class AnswerUnreadable(ClientError):
    """What answered doesn't keep the contract: another program, or a server of another version."""


class InputFailed(ClientError):
    """An input has no features. `code` is the contract's name for the reason."""

    def __init__(self, input_id: str, code: str, message: str) -> None:
        super().__init__(f"Input {input_id!r}: {message} ({code})")
        self.input_id = input_id
        self.code = code


class JobFailed(ClientError):
    """A job ended without a result: it failed, lapsed or was cancelled. `reason` is the server's."""

    def __init__(self, job_id: str, state: str, reason: str) -> None:
        how = "was cancelled" if state == "cancelled" else state
        super().__init__(f"Job {job_id} {how}{': ' if reason else '.'}{reason}")
        self.job_id = job_id
        self.state = state
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What the server says of an error."""

    status: int
    type: str
    title: str
    detail: str
    trace_id: str | None = None
    pointer: str | None = None
    known: tuple[str, ...] = ()
    retry_after_s: float | None = None
    partial: Result | None = None


class ProblemError(ClientError):
    """The server answered with a problem; its fields are here under the same names."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.problem.status

    @property
    def type(self) -> str:
        """The kind as a URN, the same in all versions."""
        return self.problem.type

    @property
    def kind(self) -> str:
        """The last part of `type`, such as `predictor-expired`."""
        return self.problem.type.rpartition(":")[2]

    @property
    def detail(self) -> str:
        """What happened, and what to do."""
        return self.problem.detail

    @property
    def trace_id(self) -> str | None:
        """The trace of the request."""
        return self.problem.trace_id

    @property
    def pointer(self) -> str | None:
        """Where in the body, as a JSON pointer, or the parameter's name."""
        return self.problem.pointer

    @property
    def known(self) -> tuple[str, ...]:
        """The values or names that would have been taken."""
        return self.problem.known

    @property
    def retry_after_s(self) -> float | None:
        """When the server expects another try to succeed; None where it doesn't say."""
        return self.problem.retry_after_s


class InvalidRequest(ProblemError):
    """The server can't take the request as it is."""


class AccessDenied(ProblemError):
    """The key is missing or not valid, or this caller may not call."""


class NotFound(ProblemError):
    """There is no such model, dataset, predictor or operation. `known` lists near names."""


class Conflict(ProblemError):
    """The job isn't in a state that has what was asked for."""


class Overloaded(ProblemError):
    """Not now: the server is full, starts or stops, and the tries that were allowed are used up."""


class ModelUnavailable(Overloaded):
    """The model is known, but the server can't load it."""


class DeadlineExceeded(ProblemError):
    """The time that the request was given is over."""

    @property
    def partial(self) -> Result | None:
        """What was done until then, with an error for each input that wasn't."""
        return self.problem.partial


class ServerFailed(ProblemError):
    """A fault of the server's; its log holds the cause under `trace_id`."""


_BY_STATUS: dict[int, type[ProblemError]] = {
    400: InvalidRequest,
    401: AccessDenied,
    403: AccessDenied,
    404: NotFound,
    405: NotFound,
    406: InvalidRequest,
    409: Conflict,
    413: InvalidRequest,
    415: InvalidRequest,
    422: InvalidRequest,
    429: Overloaded,
    503: Overloaded,
    504: DeadlineExceeded,
}
_BY_KIND: dict[str, type[ProblemError]] = {"model-unavailable": ModelUnavailable}


def raised(problem: Problem) -> ProblemError:
    """Return the exception that carries a problem."""
    other = ServerFailed if problem.status >= 500 else ProblemError
    kind = problem.type.rpartition(":")[2]
    return _BY_KIND.get(kind, _BY_STATUS.get(problem.status, other))(problem)
