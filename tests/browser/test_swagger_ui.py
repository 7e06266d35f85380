"""Swagger UI in a real browser: open, images and close by clicks."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.live import KEY, KEYED, Live, node_command, serving

SCRIPT = Path(__file__).with_name("swagger_ui.mjs")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Live]:
    with serving(tmp_path / "server") as live:
        yield live


@pytest.fixture
def keyed(tmp_path: Path) -> Iterator[Live]:
    with serving(tmp_path / "server", environment=KEYED) as live:
        yield live


def test_a_digit_is_recognised_by_clicks(server: Live, tmp_path: Path) -> None:
    check_shown(visit(server, tmp_path))


def test_a_digit_is_recognised_after_authorizing(keyed: Live, tmp_path: Path) -> None:
    check_shown(visit(keyed, tmp_path, KEY))


def check_shown(shown: dict[str, Any]) -> None:
    assert shown["troubles"] == []
    assert shown["title"].startswith("Stepscope")
    assert [shown[step]["status"] for step in ("open", "images", "close")] == ["200", "200", "200"]
    best = shown["images"]["body"]["responses"][0]["features"][0]
    assert best["classification"]["label"] == "7"
    assert shown["close"]["body"]["id"] == shown["open"]["body"]["id"]
    assert shown["close"]["body"]["freed_bytes"] > 0


def visit(server: Live, folder: Path, *key: str) -> dict[str, Any]:
    """Return what the page showed; a picture of it lies in the folder."""
    chromium = shutil.which("chromium")
    assert chromium, "these tests need Chromium; tests/run.py installs it where it can"
    places = [str(folder / "profile"), str(folder / "page.png")]
    command = [node_command(), str(SCRIPT), server.url, chromium, *places, *key]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    assert (folder / "page.png").stat().st_size > 10_000
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown
