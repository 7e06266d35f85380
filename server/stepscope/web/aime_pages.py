"""Pages that aime's configuration names: files as they are, Markdown, SCSS, and templates of endpoints' pages.

No path leaves the folder that is served. Templates run in Jinja's sandbox.
"""

import asyncio
import html
import mimetypes
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from jinja2 import FileSystemLoader, TemplateError
from jinja2.sandbox import SandboxedEnvironment
from markdown_it import MarkdownIt
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.types import ASGIApp

from stepscope.core.errors import InternalFailure
from stepscope.dialects.aime.endpoints import StaticRoute, TemplateRoute
from stepscope.web.operation import log

HEADERS = {"x-content-type-options": "nosniff", "access-control-allow-origin": "*"}
NO_SASS = "/* SCSS needs the package libsass: pip install 'stepscope[scss]' */"
PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>{style}</head>
<body>
{body}</body>
</html>
"""


class AimePages:
    """Finds what is served at a path."""

    def __init__(self, statics: Iterable[StaticRoute], templates: Iterable[TemplateRoute]) -> None:
        self._statics = {each.route: each for each in statics}
        self._templates = {each.route: each for each in templates}

    def has(self, path: str) -> bool:
        """Say whether there is something at a path, a file or a folder's."""
        return path in self._templates or self._static(path) is not None

    async def answer(self, path: str) -> ASGIApp | None:
        """Return what answers for a path, None when there is no such file."""
        template = self._templates.get(path)
        if template is not None:
            return await asyncio.to_thread(_render, template)
        static = self._static(path)
        return None if static is None else await asyncio.to_thread(_serve, static, path)

    def _static(self, path: str) -> StaticRoute | None:
        """Return the route of a path: its own, or the longest that is a folder above it."""
        if path in self._statics:
            return self._statics[path]
        above = [route for route in self._statics if path.startswith(route.rstrip("/") + "/")]
        longest = max(above, key=len, default=None)
        return self._statics[longest] if longest is not None and self._statics[longest].target.is_dir() else None


def _render(template: TemplateRoute) -> Response:
    try:
        text = _environment(template.folders).get_template(template.file).render(**template.variables)
    except (TemplateError, OSError) as fault:
        log.error("the page %s can't be made: %s", template.route, fault)
        raise InternalFailure from fault
    return HTMLResponse(text, headers=HEADERS)


@lru_cache
def _environment(folders: Sequence[Path]) -> SandboxedEnvironment:
    return SandboxedEnvironment(loader=FileSystemLoader(folders), autoescape=True)


def _serve(static: StaticRoute, path: str) -> Response | None:
    file = _inside(static, path)
    if file is None:
        return None
    if static.compile == "md" and file.suffix == ".md":
        return HTMLResponse(_from_markdown(file, static.css_file), headers=HEADERS)
    if static.compile == "scss" and file.suffix == ".scss":
        return Response(_from_scss(file), media_type="text/css", headers=HEADERS)
    return FileResponse(file, media_type=mimetypes.guess_type(file.name)[0] or "text/plain", headers=HEADERS)


def _inside(static: StaticRoute, path: str) -> Path | None:
    """Return a path's file if it lies where the route says; a link that leads elsewhere doesn't."""
    rest = path.removeprefix(static.route).strip("/")
    if "\0" in rest:
        return None
    root = static.target.resolve()
    file = (root / rest).resolve() if rest else root
    if file != root and not file.is_relative_to(root):
        return None
    if static.compile == "scss" and file.suffix == ".css" and not file.exists():
        file = file.with_suffix(".scss")
    return next((found for found in (file, file / "index.html") if found.is_file()), None)


def _from_markdown(file: Path, css_file: str) -> str:
    style = f'<link rel="stylesheet" href="{html.escape(css_file)}">' if css_file else ""
    body = MarkdownIt("commonmark").enable("table").render(file.read_text(encoding="utf-8"))
    return PAGE.format(title=html.escape(file.stem), style=style, body=body)


def _from_scss(file: Path) -> str:
    try:
        import sass
    except ImportError:
        log.error("%s isn't compiled: SCSS needs the package libsass", file)
        return NO_SASS
    try:
        return str(sass.compile(filename=str(file)))
    except sass.CompileError as fault:
        log.error("%s can't be compiled: %s", file, fault)
        raise InternalFailure from fault
