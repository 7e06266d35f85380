"""The page of a trace in a real browser: by keyboard alone, on a wide and a narrow screen, and on paper."""

import base64
import json
import shutil
import subprocess
from pathlib import Path

from stepscope.settings import BUILTIN
from tests.system.live import node_command, serving

SCRIPT = Path(__file__).with_name("trace_page.mjs")
SAMPLE = next((BUILTIN / "lenet" / "samples").glob("*.png"))


def test_a_trace_is_read_by_keyboard(tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    assert chromium, "these tests need Chromium; tests/run.py installs it where it can"
    with serving(tmp_path / "server") as live, live.client() as client:
        opened = client.post("/api/predict/open", json={"model_name": "lenet"}).json()
        options = {"execution_options": {"trace_level": "FULL_TRACE"}}
        images = [{"id": "a", "data": base64.b64encode(SAMPLE.read_bytes()).decode()}]
        body = {"predictor": {"id": opened["id"]}, "images": images, "options": options}
        trace_id = client.post("/api/predict/images", json=body).json()["trace_id"]["id"]
        places = [str(tmp_path / name) for name in ("profile", "page.png", "page.pdf")]
        command = [node_command(), str(SCRIPT), f"{live.url}/traces/{trace_id}", chromium, *places]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["troubles"] == []
    assert shown["reached"][0] == "To the waterfall"
    assert "Jaeger's JSON" in shown["reached"]
    assert any(text.startswith("POST /api/predict/images") for text in shown["reached"])
    assert (shown["before"], shown["after"]) == (False, True)
    assert shown["target"].startswith("s-")
    assert shown["wide"]
    assert shown["narrow"]
    assert "The slowest layers" in shown["headings"]
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
