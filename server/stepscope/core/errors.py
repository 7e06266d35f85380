"""Everything that can go wrong, as one tree. No HTTP here: `web/problems.py` maps each leaf to a status.

StepscopeError
├── InvalidRequest          the request can't be understood; send another one
│   ├── MalformedBody         not JSON, not UTF-8, nested too deep
│   ├── InvalidField          JSON, but not what the contract says
│   ├── JobTooLarge           more bytes than a job may hold
│   ├── TooManyInputs         more inputs in one request than may ever be under way
│   ├── BodyTooLarge          more bytes than are accepted
│   ├── UnsupportedMediaType  a content type that the operation doesn't take
│   ├── NotAcceptable         an answer type that the operation doesn't give
│   └── KeyReused             an idempotency key that stands for another request
├── NotFound                there is no such thing (or it isn't yours)
│   ├── RouteNotFound, MethodNotAllowed
│   ├── ModelNotFound, FrameworkNotFound, DatasetNotFound
│   ├── PredictorNotFound, PredictorExpired
│   ├── TraceNotFound
│   └── JobNotFound
├── Conflict                there is such a thing, but not in this state
│   └── JobNotEnded, JobWithoutResult
├── AccessDenied            who are you?
│   ├── CredentialsMissing, CredentialsInvalid
│   └── OriginRefused, HostRefused
├── Refused                 not now; nothing was done
│   ├── Overloaded            the server is full
│   ├── TooManyRequests       this caller's share is used up
│   ├── ShuttingDown          the server is about to stop
│   ├── JobQueueFull          as many jobs wait as may
│   └── StoreUnavailable      the database doesn't answer
├── DeadlineExceeded        the time that the caller gave is over
├── ModelUnavailable        the model is known but can't be loaded here
├── InternalFailure         a fault of ours
├── NoticeUntaken           nobody took the notice of a job's end
├── ManifestInvalid, ServableInvalid, SettingsInvalid    an operator's file is wrong
└── InputFailed             one input of a list is bad; the others get their answers
    ├── InputEmpty, Base64Invalid, ImageUnreadable, ImageTooLarge, TensorInvalid
    ├── UrlRefused, UrlFailed
    └── PredictionFailed, InputCancelled
"""

from collections.abc import Sequence


class StepscopeError(Exception):
    """Something went wrong; `str()` of it is a sentence that is safe to show to a client."""


# --- the request ---------------------------------------------------------------------------------


class InvalidRequest(StepscopeError):
    """The request can't be understood."""


class MalformedBody(InvalidRequest):
    """The body is not the JSON text that it should be."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The body can't be read: {reason}.")


class InvalidField(InvalidRequest):
    """A field, parameter or header has a value that the contract doesn't allow.

    `pointer` is a JSON pointer into the body (RFC 6901) or the parameter's name.
    """

    def __init__(self, pointer: str, reason: str, known: Sequence[str] = ()) -> None:
        known_ones = f" Known values: {', '.join(known)}." if known else ""
        super().__init__(f"{pointer or 'The body'}: {reason}.{known_ones}")
        self.pointer = pointer
        self.known = tuple(known)


class BodyTooLarge(InvalidRequest):
    """The body has more bytes than this server accepts."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The body is larger than {limit_bytes} bytes, which is the limit here.")
        self.limit_bytes = limit_bytes


class JobTooLarge(InvalidRequest):
    """A job's input or result is larger than this server keeps."""

    def __init__(self, what: str, limit_bytes: int) -> None:
        super().__init__(f"The job's {what} is larger than {limit_bytes} bytes, which is the limit here.")
        self.limit_bytes = limit_bytes


class TooManyInputs(InvalidRequest):
    """The request holds more inputs than may ever be under way: trying again won't help."""

    def __init__(self, given: int, limit: int) -> None:
        super().__init__(f"The request holds {given} inputs, and {limit} may be under way. Send them in several.")
        self.limit = limit


class UnsupportedMediaType(InvalidRequest):
    """The operation doesn't take a body of this content type."""

    def __init__(self, given: str, known: Sequence[str]) -> None:
        super().__init__(f"Content-Type {given!r} isn't taken here. Send {' or '.join(known)}.")
        self.known = tuple(known)


class NotAcceptable(InvalidRequest):
    """The operation can't answer in a type that the caller accepts."""

    def __init__(self, given: str, known: Sequence[str]) -> None:
        super().__init__(f"Accept {given!r} can't be served. Known answers: {', '.join(known)}.")
        self.known = tuple(known)


class KeyReused(InvalidRequest):
    """The idempotency key was sent before, with another request."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"The Idempotency-Key {key!r} was sent before with another body. Send the same one, or take a new key."
        )


# --- things that aren't there --------------------------------------------------------------------


def _near(names: Sequence[str]) -> str:
    return f" Near names: {', '.join(names)}." if names else ""


class NotFound(StepscopeError):
    """There is no such thing, or it isn't the caller's."""


class RouteNotFound(NotFound):
    """No operation lives at this path."""

    def __init__(self, path: str) -> None:
        super().__init__(f"There is no operation at {path[:200]!r}. The contract is at /openapi.yaml.")


class MethodNotAllowed(NotFound):
    """The path exists, but not with this method."""

    def __init__(self, method: str, allowed: Sequence[str]) -> None:
        super().__init__(f"{method} isn't allowed here. Use {' or '.join(allowed)}.")
        self.allowed = tuple(allowed)


class ModelNotFound(NotFound):
    """No model of this name and version can be served here."""

    def __init__(self, name: str, version: str, near: Sequence[str] = (), reason: str = "") -> None:
        because = f" ({reason})" if reason else ""
        super().__init__(f"There is no model {name!r} with version {version!r} here{because}.{_near(near)}")
        self.name = name
        self.version = version
        self.near = tuple(near)


class FrameworkNotFound(NotFound):
    """No framework of this name and version is installed here."""

    def __init__(self, name: str, version: str, near: Sequence[str] = ()) -> None:
        super().__init__(f"There is no framework {name!r} with version {version!r} here.{_near(near)}")
        self.near = tuple(near)


class DatasetNotFound(NotFound):
    """No dataset of this category and name is configured."""

    def __init__(self, category: str, name: str, near: Sequence[str] = ()) -> None:
        super().__init__(f"There is no dataset {category}/{name} here.{_near(near)}")
        self.near = tuple(near)


class PredictorNotFound(NotFound):
    """No predictor of this id was opened by this caller, or it was closed."""

    def __init__(self, predictor_id: str) -> None:
        super().__init__(
            f"There is no predictor {predictor_id[:64]!r}: it was never opened, or it was closed. "
            "Open one with POST /api/predict/open."
        )


class PredictorExpired(NotFound):
    """The predictor's lease ran out."""

    def __init__(self, predictor_id: str, lease_s: float) -> None:
        super().__init__(
            f"Predictor {predictor_id[:64]!r} expired after {lease_s:g} s without use. "
            "Open a new one with POST /api/predict/open and send the inputs again."
        )


class TraceNotFound(NotFound):
    """No trace of this id is kept, or it is another caller's."""

    def __init__(self, trace_id: str) -> None:
        super().__init__(
            f"There is no trace {trace_id!r} here. Ask for one with a trace_level; old ones are dropped after a while."
        )
        self.trace_id = trace_id


class JobNotFound(NotFound):
    """No job of this id is kept, or it is another caller's."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no job {job_id!r} here. Jobs are forgotten some time after their end.")
        self.job_id = job_id


class Conflict(StepscopeError):
    """There is such a thing, but it isn't in a state that has what was asked for."""


class JobNotEnded(Conflict):
    """The job has no result yet."""

    def __init__(self, state: str) -> None:
        super().__init__(
            f"The job is {state} and has no result yet. Follow GET /api/jobs/{{job_id}}/events, or ask again later."
        )


class JobWithoutResult(Conflict):
    """The job ended, but not with a result."""

    def __init__(self, state: str, reason: str = "") -> None:
        super().__init__(f"The job {state}, so that it has no result.{reason and ' '}{reason}")


# --- access and load -----------------------------------------------------------------------------


class AccessDenied(StepscopeError):
    """The caller isn't known."""


class CredentialsMissing(AccessDenied):
    """The operation needs a key and none was sent."""

    def __init__(self) -> None:
        super().__init__("This server asks for a key: send it as 'Authorization: Bearer KEY'.")


class CredentialsInvalid(AccessDenied):
    """A key was sent, but it isn't one of this server's."""

    def __init__(self) -> None:
        super().__init__("The key isn't valid here.")


class OriginRefused(AccessDenied):
    """A web page of another origin calls."""

    def __init__(self, origin: str) -> None:
        super().__init__(
            f"Pages of {origin[:200]!r} may not call this server. "
            "Its operator can allow them with [server] cors_origins."
        )


class HostRefused(AccessDenied):
    """The request was sent to a name that isn't this server's: some page's, pointed at this machine."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"This server doesn't go by the name {host[:200]!r}. "
            "Its operator can add it to [server] names, or configure keys."
        )


class Refused(StepscopeError):
    """Not now; nothing was done, and the same request may succeed after `retry_after_s`."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Overloaded(Refused):
    """The server holds as many inputs as it may."""

    def __init__(self, limit: int, retry_after_s: float = 1.0) -> None:
        super().__init__(f"The server is full: {limit} inputs are waiting or running. Try again later.", retry_after_s)
        self.limit = limit


class TooManyRequests(Refused):
    """The caller holds as many inputs as one caller may."""

    def __init__(self, limit: int, retry_after_s: float = 1.0) -> None:
        super().__init__(f"One caller may have {limit} inputs under way. Wait for some answers first.", retry_after_s)
        self.limit = limit


class ShuttingDown(Refused):
    """The server finishes what it has and takes nothing new."""

    def __init__(self) -> None:
        super().__init__("The server is shutting down. Try another one, or this one later.", 5.0)


class StoreUnavailable(Refused):
    """The database that holds the records doesn't answer. A change that was sent may still have been made."""

    def __init__(self) -> None:
        super().__init__("The server's database doesn't answer. Try again in a moment.", 2.0)


class JobQueueFull(Refused):
    """As many jobs wait in a queue as may."""

    def __init__(self, limit: int, retry_after_s: float = 5.0) -> None:
        super().__init__(f"The queue is full: {limit} jobs wait. Try again later.", retry_after_s)
        self.limit = limit


class DeadlineExceeded(StepscopeError):
    """The caller's time is over. `partial` holds what was done, as the raiser's own value."""

    def __init__(self, timeout_s: float, done: int = 0, total: int = 0, partial: object = None) -> None:
        answered = f"; {done} of {total} inputs were answered" if total else ""
        super().__init__(f"The time-out of {timeout_s * 1000:g} ms is over{answered}.")
        self.timeout_s = timeout_s
        self.done = done
        self.total = total
        self.partial = partial


class ModelUnavailable(StepscopeError):
    """The model is known, but it can't be loaded here."""

    def __init__(self, name: str, version: str, reason: str) -> None:
        super().__init__(f"Model {name} {version} can't be loaded: {reason}.")


class InternalFailure(StepscopeError):
    """A fault of ours. The cause is in the server's log under the trace id, never in the answer."""

    def __init__(self) -> None:
        super().__init__("The server failed on this request. Its log holds the cause under the trace id.")


class NoticeUntaken(StepscopeError):
    """A webhook didn't take the notice of a job's end, however often it was sent."""

    def __init__(self, tries: int) -> None:
        super().__init__(f"The webhook didn't take it in {tries} tries.")


# --- an operator's files -------------------------------------------------------------------------


class ManifestInvalid(StepscopeError):
    """A model's manifest.yaml can't be used."""

    def __init__(self, path: object, field: str, reason: str) -> None:
        super().__init__(f"{path}: {field}: {reason}")
        self.field = field


class ServableInvalid(StepscopeError):
    """A model's servable_config.py can't be used."""


class SettingsInvalid(StepscopeError):
    """stepscope.toml, an environment variable or an option can't be used."""


# --- one input of a list -------------------------------------------------------------------------


class InputFailed(StepscopeError):
    """One input can't be answered; `code` is stable and goes to the client with the message."""

    code = "input_failed"


class InputEmpty(InputFailed):
    """The input holds no data."""

    code = "input_empty"

    def __init__(self) -> None:
        super().__init__("The input is empty.")


class Base64Invalid(InputFailed):
    """The input isn't standard base64."""

    code = "base64_invalid"

    def __init__(self) -> None:
        super().__init__("The data isn't standard base64 (RFC 4648, section 4).")


class ImageUnreadable(InputFailed):
    """The bytes are no JPEG, PNG or WebP that can be decoded."""

    code = "image_unreadable"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The image can't be read: {reason}.")


class ImageTooLarge(InputFailed):
    """The image has more pixels or bytes than are decoded here."""

    code = "image_too_large"

    def __init__(self, what: str) -> None:
        super().__init__(f"The image is too large: {what}.")


class TensorInvalid(InputFailed):
    """A tensor's shape, type or byte count doesn't fit the model or itself."""

    code = "tensor_invalid"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The tensor can't be used: {reason}.")


class UrlRefused(InputFailed):
    """The URL isn't one that this server fetches. The reason stays in the log."""

    code = "url_refused"

    def __init__(self) -> None:
        super().__init__("The URL isn't one that this server fetches.")


class UrlFailed(InputFailed):
    """The URL couldn't be fetched. The reason stays in the log."""

    code = "url_failed"

    def __init__(self) -> None:
        super().__init__("The URL couldn't be fetched.")


class PredictionFailed(InputFailed):
    """The model failed on this input."""

    code = "prediction_failed"

    def __init__(self) -> None:
        super().__init__("The model failed on this input. The server's log holds the cause under the trace id.")


class InputCancelled(InputFailed):
    """The request went away, or its time was over, before this input was run."""

    code = "input_cancelled"

    def __init__(self) -> None:
        super().__init__("The input was not run: the request ended first.")
