"""What people look at beside the operations: Swagger UI, and the contract itself."""

import json
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from swagger_ui_bundle import swagger_ui_path

PATHS = ("/", "/ui", "/openapi.json", "/openapi.yaml", "/favicon.ico")

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
  tryItOutEnabled: true,
  displayRequestDuration: true,
  presets: [SwaggerUIBundle.presets.apis],
});
"""

_HEADERS = {
    "content-security-policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


def pages_app(document: dict[str, Any], bundle: Path) -> Starlette:
    """Build the pages. In the contract that they show, the server that answers stands first."""
    shown = document | {"servers": [{"url": "/", "description": "This server"}]}
    as_json = json.dumps(shown, separators=(",", ":")).encode()
    as_yaml = bundle.read_bytes()

    async def home(request: Request) -> Response:
        return RedirectResponse("/ui")

    async def ui(request: Request) -> Response:
        return HTMLResponse(_UI, headers=_HEADERS)

    async def start(request: Request) -> Response:
        return Response(_START, media_type="text/javascript", headers=_HEADERS)

    async def openapi_json(request: Request) -> Response:
        return Response(as_json, media_type="application/json")

    async def openapi_yaml(request: Request) -> Response:
        return Response(as_yaml, media_type="application/yaml")

    async def icon(request: Request) -> Response:
        return RedirectResponse("/ui/favicon-32x32.png")

    async def unknown(request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": "There is no such page."}, status_code=404)

    routes = [
        Route("/", home),
        Route("/ui", ui),
        Route("/ui/", ui),
        Route("/ui/start.js", start),
        Route("/openapi.json", openapi_json),
        Route("/openapi.yaml", openapi_yaml),
        Route("/favicon.ico", icon),
        Mount("/ui", StaticFiles(directory=swagger_ui_path)),
    ]
    return Starlette(routes=routes, exception_handlers={404: unknown})


def is_page(path: str) -> bool:
    """Say whether a path belongs to the pages."""
    return path in PATHS or path.startswith("/ui/")
