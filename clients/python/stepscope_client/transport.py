"""One request to the server and its answer: connections, retries, and errors as exceptions."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import urlsplit

import urllib3  # noqa: TID251 - the ban is the server's; this is a client, and the generated code stands on urllib3
from stepscope_generated import ApiClient, Configuration
from stepscope_generated import models as wire
from stepscope_generated.exceptions import ApiException

from stepscope_client.errors import (
    AnswerTimedOut,
    AnswerUnreadable,
    ArgumentInvalid,
    ClientError,
    Overloaded,
    Problem,
    ServerUnreachable,
    raised,
)
from stepscope_client.results import Result, read_result
from stepscope_client.retries import Retries

CONNECT_S = 10.0
STREAM_S = 30.0
"""How long a stream may be silent; the server shows a sign of life every ten seconds."""
CONNECTIONS = 32
"""Connections kept per client; more threads than this still work, with new connections."""

Data = TypeVar("Data", covariant=True)


class Generated(Protocol[Data]):
    """An answer as the generated client gives it: `stepscope_generated.api_response.ApiResponse`."""

    @property
    def data(self) -> Data:
        """The message."""

    @property
    def headers(self) -> Mapping[str, str] | None:
        """The headers as a plain map, in the case in which they were sent."""

    @property
    def raw_data(self) -> bytes:
        """The body."""


Operation = Callable[..., Generated[Data]]
"""A method of the generated client, `..._with_http_info`, or a function that takes the same keywords."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply(Generic[Data]):
    """A good answer."""

    data: Data
    headers: Mapping[str, str]
    """Names are compared without case."""
    body: bytes


class Transport:
    """Sends operations to one server. Safe to use from several threads."""

    def __init__(self, url: str, key: str | None, timeout_s: float, retries: Retries, ca: str | None = None) -> None:
        self.url = site_of(url)
        self._timeout_s = float(timeout_s)  # The generated client takes no integers.
        self._retries = retries
        configuration = Configuration(
            host=self.url,
            access_token=key,
            ssl_ca_cert=ca,
            connection_pool_maxsize=CONNECTIONS,
            # A proxy can't reach this machine's own loopback address.
            no_proxy="*" if _is_loopback(self.url) else None,
        )
        # urllib3 would repeat and redirect on its own; `send` decides here, and a redirect is an answer.
        configuration.retries = False
        self.api = ApiClient(configuration)

    def send(
        self,
        operation: Operation[Data],
        *arguments: object,
        headers: Mapping[str, str] | None = None,
        deadline_s: float | None = None,
        repeatable: bool = True,
    ) -> Reply[Data]:
        """Send a request, again where it was refused and may be `repeatable`. Raises `ClientError`s."""
        tried = 0
        while True:
            tried += 1
            try:
                return self._try(operation, arguments, headers, deadline_s)
            except Overloaded as refused:
                wait_s = self._retries.wait_s(tried, refused.retry_after_s) if repeatable else None
                if wait_s is None:
                    raise
            time.sleep(wait_s)

    @contextmanager
    def stream(self, path: str, headers: Mapping[str, str], longest_s: float) -> Iterator[Iterator[bytes]]:
        """Give an answer's parts as they come. Raises `ClientError`s, also while they are read.

        `longest_s` is how long a part is waited for at most, if that is less than a silence that is a broken stream.
        """
        read_s = min(STREAM_S, longest_s)
        method, url, sent, body, form = self.api.param_serialize(
            method="GET",
            resource_path=path,
            header_params={**headers, "Accept": "text/event-stream, application/problem+json"},
            auth_settings=["bearerAuth"],
        )
        with self._one_error(read_s):
            answer = self.api.call_api(method, url, sent, body, form, _request_timeout=(CONNECT_S, read_s))
            if answer.status != 200:
                answer.read()  # type: ignore[no-untyped-call]
                self.api.response_deserialize(response_data=answer, response_types_map={})
        try:
            yield self._parts(answer.response, read_s)
        finally:
            answer.response.close()  # what is left of it isn't wanted

    def close(self) -> None:
        """Close the connections that are kept."""
        self.api.rest_client.pool_manager.clear()

    def _try(
        self,
        operation: Operation[Data],
        arguments: tuple[object, ...],
        headers: Mapping[str, str] | None,
        deadline_s: float | None,
    ) -> Reply[Data]:
        # The server's deadline must be able to pass before ours does.
        read_s = max(self._timeout_s, deadline_s + CONNECT_S) if deadline_s else self._timeout_s
        timeout = (min(CONNECT_S, read_s), read_s)
        with self._one_error(read_s):
            # The generated client writes into the headers, so each try gets its own.
            answer = operation(*arguments, _headers=dict(headers or {}), _request_timeout=timeout)
            return Reply(data=answer.data, headers=urllib3.HTTPHeaderDict(answer.headers), body=answer.raw_data)

    def _parts(self, response: urllib3.BaseHTTPResponse, read_s: float) -> Iterator[bytes]:
        with self._one_error(read_s):
            while part := response.read1():
                yield part

    @contextmanager
    def _one_error(self, read_s: float) -> Iterator[None]:
        try:
            yield
        except ApiException as refusal:
            raise self._told(refusal) from None
        except urllib3.exceptions.ReadTimeoutError as late:
            raise AnswerTimedOut(f"{self.url} gave no answer within {read_s:g} s.") from late
        except urllib3.exceptions.HTTPError as fault:
            raise ServerUnreachable(f"{self.url} can't be reached: {_reason(fault)}.") from fault
        except ValueError as fault:
            raise AnswerUnreadable(f"{self.url} answers, but not as the contract says.") from fault

    def _told(self, answer: ApiException) -> ClientError:
        if answer.status:
            return raised(read_problem(answer))
        # The generated client's own words for what has no status.
        if isinstance(answer.__context__, urllib3.exceptions.SSLError):
            return ServerUnreachable(f"{self.url} can't be reached: {_reason(answer.__context__)}.")
        return AnswerUnreadable(f"{self.url} answers, but not as the contract says: {answer.reason}.")


def site_of(url: str) -> str:
    """Return a server's address with a scheme and without a slash at its end. Raises `ArgumentInvalid`."""
    site = url.strip().strip("/")
    if "://" not in site:
        site = "http://" + site
    try:
        parts = urlsplit(site)
        named = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        named = False
    if not named:
        raise ArgumentInvalid(f"{url!r} is no address of a server; one looks like http://127.0.0.1:8080.")
    return site


def read_problem(answer: ApiException) -> Problem:
    """Return what an answer says of its error; a proxy's or another program's says little."""
    document: Any = None
    with suppress(ValueError):
        document = json.loads(answer.body or "")
    if not isinstance(document, dict):
        document = {}
    headers = answer.headers or {}
    return Problem(
        status=answer.status,
        type=str(document.get("type", "about:blank")),
        title=str(document.get("title", answer.reason or "")),
        detail=str(document.get("detail") or _words(answer.status, answer.reason or "", headers.get("Location"))),
        trace_id=document.get("trace_id") or headers.get("X-B3-Traceid"),
        pointer=document.get("pointer"),
        known=tuple(document.get("known") or ()),
        retry_after_s=read_retry_after(headers.get("Retry-After"), datetime.now(UTC)),
        partial=_read_partial(document.get("partial")),
    )


def read_retry_after(value: str | None, now: datetime) -> float | None:
    """Read `Retry-After`: seconds or a date (RFC 9110, section 10.2.3). What can't be read counts as missing."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - now).total_seconds())


def _read_partial(document: Any) -> Result | None:
    if not isinstance(document, dict):
        return None
    with suppress(ValueError):
        return read_result(wire.FeaturesResponse.model_validate(document))
    return None


def _words(status: int, phrase: str, location: str | None) -> str:
    if location:
        return f"The server sends elsewhere, to {location}: give that address."
    return f"The server answered {status} {phrase} without a reason.".replace("  ", " ")


def _reason(fault: Exception) -> str:
    """Return the innermost reason in one line: urllib3 wraps what the system said."""
    inner: BaseException = fault
    while inner.__cause__ or inner.__context__:
        inner = inner.__cause__ or inner.__context__ or inner
    text = getattr(inner, "strerror", None) or str(inner) or type(inner).__name__
    return " ".join(str(text).split()).rstrip(".")


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")
