"""The servers side by side: how each is started, asked, and understood."""

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.environments import ensure, python_of, versions
from benchmarks.processes import NotStarted, Process, free_port
from benchmarks.subjects import Subject

PEERS = Path(__file__).parent / "peers"
OURS = "stepscope"
TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a server takes requests, and the bodies to send in turns."""

    port: int
    path: str
    bodies: Sequence[bytes]
    content_type: str = "application/json"


@dataclass(slots=True, kw_only=True)
class Running:
    """A server that answers."""

    name: str
    process: Process
    endpoint: Endpoint
    read: Callable[[Any], int]
    temporary: Path
    facts: dict[str, str] = field(default_factory=dict)
    restless: bool = False
    """Whether it works even when nobody asks."""

    def stop(self) -> None:
        """End it."""
        self.process.stop()
        shutil.rmtree(self.temporary, ignore_errors=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another project's way to serve a model."""

    name: str
    path: str
    body: Callable[[str], bytes]
    read: Callable[[Any], int]
    argv: Callable[[Path, int], list[str]]
    packages: list[str]
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, subject: Subject) -> Running:
        """Install it if need be and start it. Raises `NotInstalled` or `NotStarted`."""
        folder = ensure(self.name, PEERS / self.name / "requirements.txt")
        port, temporary = free_port(), Path(tempfile.mkdtemp(prefix="bench-"))
        environment = {
            **self.environment,
            "BENCH_PORT": str(port),
            "BENCH_TASK": str(subject.write_task(temporary / "task.json")),
            "BENCH_TEMP": str(temporary),
            "BENTOML_HOME": str(temporary),
            "PYTHONPATH": str(PEERS),
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        }
        process = Process(
            argv=self.argv(folder, port), log=temporary / "log", environment=environment, folder=PEERS / self.name
        )
        bodies = [self.body(text) for text in subject.texts]
        endpoint = Endpoint(port=port, path=self.path, bodies=bodies)
        running = Running(name=self.name, process=process, endpoint=endpoint, read=self.read, temporary=temporary)
        try:
            process.start()
            process.wait(lambda: post(endpoint, bodies[0])[0] == 200)
        except BaseException:
            running.stop()
            raise
        running.facts = {**versions(folder, self.packages), "torch threads": _threads(process.log)}
        return running


def _script(folder: Path, _: int) -> list[str]:
    return [str(python_of(folder)), "server.py"]


def _bentoml(folder: Path, port: int) -> list[str]:
    return [
        *(str(folder / "bin" / "bentoml"), "serve", "service:Recogniser"),
        *("--host", "127.0.0.1", "--port", str(port)),
    ]


def _image(text: str) -> bytes:
    return json.dumps({"image": text}).encode()


def _images(text: str) -> bytes:
    return json.dumps({"images": [text]}).encode()


def _top(answer: Any) -> int:
    return int(answer["top"][0]["index"])


def _first_top(answer: Any) -> int:
    return _top(answer[0])


_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "BENTOML_DO_NOT_TRACK": "True",
    "DO_NOT_TRACK": "1",
    "LITSERVE_DISABLE_TELEMETRY": "1",
}

ALL_PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            name="fastapi",
            path="/predict",
            body=_image,
            read=_top,
            argv=_script,
            packages=["torch", "fastapi", "uvicorn", "pydantic"],
        ),
        Peer(
            name="litserve",
            path="/predict",
            body=_image,
            read=_top,
            argv=_script,
            packages=["torch", "litserve", "uvicorn"],
            environment=_QUIET,
        ),
        Peer(
            name="bentoml",
            path="/predict",
            body=_images,
            read=_first_top,
            argv=_bentoml,
            packages=["torch", "bentoml"],
            environment=_QUIET,
        ),
        Peer(
            name="ray",
            path="/predict",
            body=_image,
            read=_top,
            argv=_script,
            packages=["torch", "ray"],
            environment=_QUIET,
        ),
    )
}


def start_ours(subject: Subject, settings: dict[str, dict[str, object]] | None = None) -> Running:
    """Tune the model, start `stepscope serve` and open a predictor: what is measured runs the tuned way at once."""
    port, temporary = free_port(), Path(tempfile.mkdtemp(prefix="bench-"))
    config = temporary / "stepscope.toml"
    config.write_text(
        _toml({"models": {"folders": [str(subject.repository)], "cache": str(subject.cache)}, **(settings or {})})
    )
    command = str(Path(sys.executable).parent / "stepscope")
    tuned = subprocess.run(
        [command, "models", "tune", subject.name, "--config", str(config)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "140"},
    )
    argv = [command, "serve", "--port", str(port), "--config", str(config)]
    process = Process(argv=argv, log=temporary / "log", folder=temporary)
    running = Running(
        name=OURS,
        process=process,
        endpoint=Endpoint(port=port, path="/api/predict/images", bodies=[]),
        read=lambda answer: int(answer["responses"][0]["features"][0]["classification"]["index"]),
        temporary=temporary,
    )
    try:
        process.start()
        process.wait(lambda: get(port, "/readyz")[0] == 200)
        predictor = open_predictor(port, subject.name)
    except BaseException:
        running.stop()
        raise
    bodies = [images_body(predictor, [text]) for text in subject.texts]
    running.endpoint = Endpoint(port=port, path="/api/predict/images", bodies=bodies)
    running.facts = {"predictor": predictor, "tuning": tuned.stdout or tuned.stderr}
    return running


def open_predictor(port: int, model: str, version: str = "*") -> str:
    """Open a predictor on a server of ours and return its id. Raises `NotStarted`."""
    body = {"model_name": model, "model_version": version, "framework_name": "PyTorch", "framework_version": "*"}
    endpoint = Endpoint(port=port, path="/api/predict/open", bodies=[])
    status, answer = post(endpoint, json.dumps(body).encode())
    if status != 200:
        raise NotStarted(f"open answers {status}: {answer[:300]!r}")
    return str(json.loads(answer)["id"])


def images_body(predictor: str, texts: Sequence[str]) -> bytes:
    """Ask ours for the five likeliest classes of some pictures."""
    images = [{"id": str(place), "data": text} for place, text in enumerate(texts)]
    return json.dumps({"predictor": {"id": predictor}, "images": images, "options": {"feature_limit": 5}}).encode()


def _toml(settings: dict[str, dict[str, object]]) -> str:
    """Write sections of numbers, texts and lists, which TOML writes as JSON does."""
    lines = []
    for section, values in settings.items():
        lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    return "\n".join(lines) + "\n"


def post(endpoint: Endpoint, body: bytes) -> tuple[int, bytes]:
    """Send one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", endpoint.path, body, {"Content-Type": endpoint.content_type})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def get(port: int, path: str) -> tuple[int, bytes]:
    """Ask for a path."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def classes(running: Running) -> list[int]:
    """Return the likeliest class of every picture, asked for side by side so that batches form."""
    bodies = running.endpoint.bodies

    def one(body: bytes) -> int:
        status, answer = post(running.endpoint, body)
        if status != 200:
            raise NotStarted(f"it answers {status}: {answer[:200]!r}")
        return running.read(json.loads(answer))

    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(one, bodies))


def _threads(log: Path) -> str:
    found = [line.partition("threads=")[2].split()[0] for line in log.read_text().splitlines() if "threads=" in line]
    return found[0] if found else "unknown"
