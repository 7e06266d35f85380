"""What people look at beside the operations: Swagger UI, the contract itself, and traces."""

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from swagger_ui_bundle import swagger_ui_path

from stepscope.core.errors import StepscopeError, TraceNotFound
from stepscope.core.ports import Traces
from stepscope.core.trace_summary import summary
from stepscope.web.auth import Authenticator
from stepscope.web.context import HEADERS, KEY, trace_headers
from stepscope.web.metrics import MEDIA_TYPE as MEDIA_TYPE_OF_METRICS
from stepscope.web.metrics import Metrics
from stepscope.web.problems import MEDIA_TYPE, from_routing, problem
from stepscope.web.trace_page import render

PATHS = ("/", "/ui", "/metrics", "/openapi.json", "/openapi.yaml", "/favicon.ico")

_UI = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Stepscope API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="ui/swagger-ui.css">
<link rel="icon" type="image/png" href="ui/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="ui/swagger-ui-bundle.js"></script>
<script src="ui/start.js"></script>
</body>
</html>
"""

_START = """window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  presets: [SwaggerUIBundle.presets.apis],
});
"""

_HEADERS = {
    "content-security-policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


async def _without_slash(_: Request) -> Response:
    """Lead to the page: what it names is beside it."""
    return RedirectResponse("../ui")


def pages_app(
    document: dict[str, Any],
    bundle: Path,
    traces: Traces,
    metrics: Metrics,
    auth: Authenticator,
    jaeger_url: str = "",
) -> Starlette:
    """Build the pages. In the contract that they show, the server that answers stands first."""
    shown = document | {"servers": [{"url": "/", "description": "This server"}]}
    as_json = json.dumps(shown, separators=(",", ":")).encode()
    as_yaml = bundle.read_bytes()

    async def home(_: Request) -> Response:
        return RedirectResponse("/ui")

    async def ui(_: Request) -> Response:
        return HTMLResponse(_UI, headers=_HEADERS)

    async def start(_: Request) -> Response:
        return Response(_START, media_type="text/javascript", headers=_HEADERS)

    async def openapi_json(_: Request) -> Response:
        return Response(as_json, media_type="application/json")

    async def openapi_yaml(_: Request) -> Response:
        return Response(as_yaml, media_type="application/yaml")

    async def icon(_: Request) -> Response:
        return RedirectResponse("/ui/favicon-32x32.png")

    async def trace(request: Request) -> Response:
        owner = auth.authenticate_page(request.scope[HEADERS].get(b"authorization")).name
        trace_id = request.path_params["trace_id"]
        return HTMLResponse(await asyncio.to_thread(_trace_page, traces, trace_id, owner, jaeger_url), headers=_HEADERS)

    async def counters(request: Request) -> Response:
        auth.authenticate_page(request.scope[HEADERS].get(b"authorization"))
        return Response(metrics.render(), headers={"content-type": MEDIA_TYPE_OF_METRICS})

    async def old_trace(request: Request) -> Response:
        return RedirectResponse(f"/traces/{quote(request.path_params['trace_id'], safe='')}")

    routes = [
        Route("/", home),
        Route("/ui", ui),
        Route("/ui/", _without_slash),
        Route("/ui/start.js", start),
        Route("/openapi.json", openapi_json),
        Route("/openapi.yaml", openapi_yaml),
        Route("/favicon.ico", icon),
        Route("/metrics", counters),
        Route("/traces/{trace_id}", trace),
        Route("/trace/{trace_id}", old_trace),
        Mount("/ui", StaticFiles(directory=swagger_ui_path)),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _refuse, StepscopeError: _refuse})
    app.router.redirect_slashes = False
    return app


async def _refuse(request: Request, error: Exception) -> Response:
    """Answer for a page that isn't there as the contract's operations do."""
    context = request.scope[KEY]
    if isinstance(error, HTTPException):
        error = from_routing(error, request.method, request.scope["path"])
    assert isinstance(error, StepscopeError)
    status, body, headers = problem(error, context.trace.trace_id)
    if status == 401:
        headers = [(b"www-authenticate", b'Basic realm="Stepscope: any name, and a key", charset="UTF-8"')]
    extra = {key.decode(): value.decode() for key, value in [*headers, *trace_headers(context)]}
    return Response(body, status, extra, MEDIA_TYPE)


def _trace_page(traces: Traces, trace_id: str, owner: str, jaeger_url: str) -> str:
    whole = traces.find(trace_id, owner, whole=True)
    shown = traces.find(trace_id, owner)
    if whole is None or shown is None:
        raise TraceNotFound(trace_id[:64])
    return render(shown, summary(whole), jaeger_url)


def is_page(path: str) -> bool:
    """Say whether a path belongs to the pages."""
    return path in PATHS or path.startswith(("/ui/", "/traces/", "/trace/"))
