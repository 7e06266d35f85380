"""The contract at work: every operation compiled once into a decoder, a handler and an encoder.

Connexion's exception, routing and security middlewares stand in front, and `Operations` is the last one, built
on Connexion's public `RoutedMiddleware`. Decoding a body into its generated Struct is its validation.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from connexion.lifecycle import ConnexionRequest, ConnexionResponse
from connexion.middleware import ConnexionMiddleware
from connexion.middleware.abstract import ROUTING_CONTEXT, RoutedAPI, RoutedMiddleware
from connexion.middleware.exceptions import ExceptionMiddleware
from connexion.middleware.routing import RoutingMiddleware
from connexion.middleware.security import SecurityAPI, SecurityMiddleware, SecurityOperation
from connexion.operations import AbstractOperation
from connexion.resolver import Resolution, Resolver
from connexion.spec import Specification
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from stepscope.core.errors import InternalFailure, MethodNotAllowed, RouteNotFound, StepscopeError
from stepscope.web.auth import Authenticator, BearerHandler
from stepscope.web.context import HEADERS, KEY, trace_headers
from stepscope.web.operation import CompiledOperation, log
from stepscope.web.problems import MEDIA_TYPE, from_routing, problem
from stepscope_api.operations import OPERATIONS, PROTOCOLS

BEARER: list[dict[str, list[str]]] = [{"bearerAuth": []}]
"""What an operation asks for that takes a bearer key and nothing else."""
Handlers = Mapping[str, object]
"""An implementation of its Protocol for each tag."""


def contract_app(document: dict[str, Any], handlers: Handlers, auth: Authenticator, max_body_bytes: int) -> ASGIApp:
    """Build the stack for a contract. Raises TypeError when a handler is missing or mistyped."""
    for tag, protocol in PROTOCOLS.items():
        check_handler(tag, protocol, handlers.get(tag))

    class Stack(_Operations):
        api_cls = _api_class(handlers, max_body_bytes)

    class Security(SecurityMiddleware):  # type: ignore[misc]
        api_cls = _security_class(auth)

    app = ConnexionMiddleware(_no_operation, middlewares=[ExceptionMiddleware, _Routing, Security, Stack])
    app.add_api(without_own_wires(document), resolver=_Handled(), security_map={"bearer": lambda: BearerHandler(auth)})
    app.add_error_handler(StepscopeError, _tell)
    app.add_error_handler(HTTPException, _tell_routing)
    app.add_error_handler(ClientDisconnect, _gone)
    app.add_error_handler(Exception, _tell_fault)
    return typing.cast(ASGIApp, app)


def without_own_wires(document: dict[str, Any]) -> dict[str, Any]:
    """Return the contract without the tags that answer beside it, on wires of their own (`x-own-wire`)."""
    own = {tag["name"] for tag in document["tags"] if tag.get("x-own-wire")}
    paths = {
        path: item
        for path, item in document["paths"].items()
        if not any(own.intersection(operation.get("tags", ())) for operation in item.values())
    }
    return document | {"paths": paths}


def load_document(path: Path) -> dict[str, Any]:
    """Read the bundled contract."""
    return typing.cast(dict[str, Any], yaml.load(path.read_text(), yaml.CSafeLoader))


def check_handler(tag: str, protocol: type, handler: object) -> None:
    """Raise TypeError unless the handler has every method of the protocol, with the same parameters."""
    if handler is None:
        raise TypeError(f"the contract has the tag {tag!r}, and nothing handles it")
    for name, wanted in vars(protocol).items():
        if name.startswith("_") or not inspect.isfunction(wanted):
            continue
        method = getattr(handler, name, None)
        if not inspect.iscoroutinefunction(method):
            raise TypeError(f"{type(handler).__name__} lacks 'async def {name}', which the tag {tag!r} asks for")
        given, asked = list(inspect.signature(method).parameters), list(inspect.signature(wanted).parameters)[1:]
        if given != asked:
            raise TypeError(f"{type(handler).__name__}.{name} takes {given}, and the tag {tag!r} asks for {asked}")


class _Handled(Resolver):  # type: ignore[misc]
    """Connexion looks handlers up by path; ours are given, so any operation resolves."""

    def resolve(self, operation: AbstractOperation) -> Resolution:
        return Resolution(_no_operation, operation.operation_id)


class _Routing(RoutingMiddleware):  # type: ignore[misc]
    """Connexion's routing, without Starlette's redirects of trailing slashes: old clients follow none.

    A path without parameters is looked up in a table first, which takes a fifth off the whole layer's time.
    """

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app)
        self._plain: dict[tuple[str, str], dict[str, str]] = {}

    def add_api(self, specification: Specification, *args: Any, **kwargs: Any) -> None:
        super().add_api(specification, *args, **kwargs)
        self.router.redirect_slashes = False
        for mount in self.router.routes:
            mount.app.redirect_slashes = False
        base = specification.base_path
        for operation in OPERATIONS.values():
            if "{" not in operation.path:
                found = {"api_base_path": base, "operation_id": operation.operation_id}
                self._plain[operation.method, base + operation.path] = found

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._plain.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if found is None:
            await super().__call__(scope, receive, send)
            return
        scope["path_params"] = {}
        scope.setdefault("extensions", {})[ROUTING_CONTEXT] = found
        await self.app(scope, receive, send)


def _security_class(auth: Authenticator) -> type[SecurityAPI]:
    """Connexion's security, which asks `auth` straight from the headers where a bearer key is all that is wanted.

    What Connexion builds for a security function, a request and its context, took a fifth of the whole layer's time.
    """

    class BearerOperation(SecurityOperation):  # type: ignore[misc]
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            scope[KEY].principal = auth.authenticate(scope[HEADERS].get(b"authorization"))
            await self.next_app(scope, receive, send)

    class Security(SecurityAPI):  # type: ignore[misc]
        def make_operation(self, operation: AbstractOperation) -> SecurityOperation:
            kind = BearerOperation if operation.security == BEARER else SecurityOperation
            factory = self.security_handler_factory
            return kind.from_operation(operation, next_app=self.next_app, security_handler_factory=factory)

    return Security


class _Operations(RoutedMiddleware):  # type: ignore[misc]
    """The last middleware: hands a routed request to its compiled operation."""


def _api_class(handlers: Handlers, max_body_bytes: int) -> type[RoutedAPI]:
    class CompiledAPI(RoutedAPI):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.add_paths()

        def make_operation(self, operation: AbstractOperation) -> CompiledOperation:
            entry = OPERATIONS[operation.operation_id]
            handle: Callable[..., Any] = getattr(handlers[entry.tag], entry.name)
            return CompiledOperation(entry, handle, max_body_bytes)

    return CompiledAPI


async def _no_operation(scope: Scope, _receive: Receive, _send: Send) -> None:
    if scope["type"] == "http":
        raise RouteNotFound(scope["path"])


async def _tell(request: ConnexionRequest, error: Exception) -> ConnexionResponse:
    assert isinstance(error, StepscopeError)
    context = request.scope[KEY]
    status, body, headers = problem(error, context.trace.trace_id)
    if context.recorder is not None:
        context.recorder.tags["http.response.status_code"] = status
    return ConnexionResponse(
        status_code=status,
        mimetype=MEDIA_TYPE,
        body=body,
        headers={key.decode(): value.decode() for key, value in [*headers, *trace_headers(context)]},
    )


async def _tell_routing(request: ConnexionRequest, error: Exception) -> ConnexionResponse:
    assert isinstance(error, HTTPException)
    method, path = request.scope["method"], request.scope["path"]
    if error.status_code == 405:  # the router names the methods of the first route alone
        return await _tell(request, MethodNotAllowed(method, methods_at(path)))
    return await _tell(request, from_routing(error, method, path))


def methods_at(path: str) -> list[str]:
    """Return the methods that the contract has for a path."""
    found = {known.method for known in OPERATIONS.values() if re.fullmatch(_pattern(known.path), path)}
    return sorted(found | {"HEAD"} if "GET" in found else found)


def _pattern(path: str) -> str:
    return re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))


async def _tell_fault(request: ConnexionRequest, error: Exception) -> ConnexionResponse:
    # A path may hold line ends, which must not look like records of their own.
    log.error("trace %s: %r failed", request.scope[KEY].trace.trace_id, request.scope["path"], exc_info=error)
    return await _tell(request, InternalFailure())


async def _gone(_request: ConnexionRequest, _error: Exception) -> ConnexionResponse:
    """The client went away: nobody reads this."""
    return ConnexionResponse(status_code=499, mimetype="text/plain", body=b"")
