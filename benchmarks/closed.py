"""The closed loop: wrk keeps a number of connections busy. A request starts when the one before has its answer."""

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.processes import Process
from benchmarks.sides import Endpoint

SCRIPT = Path(__file__).with_name("closed.lua")
ANSWER_S = 120
"""How long one answer may take."""


class WrkMissing(Exception):
    """wrk isn't here and can't be installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What one measurement gave. `errors` counts answers other than 2xx, lost connections and time-outs."""

    connections: int
    requests_per_s: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    requests: int
    errors: int
    cpu_ms: float
    memory_mb: float

    def as_dict(self) -> dict[str, float]:
        """Return it for JSON."""
        return asdict(self)


def ensure_wrk() -> str:
    """Return where wrk is, installed from Debian's packages when we may. Raises `WrkMissing`."""
    if (found := shutil.which("wrk")) is None and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "install", "-y", "-qq", "wrk"], check=False, capture_output=True)
        found = shutil.which("wrk")
    if found is None:
        raise WrkMissing("the closed loop needs wrk: apt install wrk")
    return found


def measure(endpoint: Endpoint, process: Process, connections: int, seconds: float) -> Point:
    """Keep `connections` busy for some seconds, and weigh the server meanwhile."""
    before = process.usage()
    found = drive(endpoint, connections, seconds)
    after = process.usage()
    requests = max(1, int(found["requests"]))
    return Point(
        connections=connections,
        requests_per_s=found["requests"] / found["seconds"],
        p50_ms=found["p50_ms"],
        p90_ms=found["p90_ms"],
        p99_ms=found["p99_ms"],
        requests=int(found["requests"]),
        errors=int(found["not_ok"] + found["lost"] + found["timeouts"]),
        cpu_ms=(after.cpu_s - before.cpu_s) / requests * 1e3,
        memory_mb=after.memory_bytes / 2**20,
    )


def drive(endpoint: Endpoint, connections: int, seconds: float) -> dict[str, float]:
    """Run wrk and return its summary. One thread of it is enough: it is busy for microseconds a request."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        files = []
        for place, body in enumerate(endpoint.bodies):
            path = Path(folder) / str(place)
            path.write_bytes(body)
            files.append(str(path))
        argv = [
            *(ensure_wrk(), "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", f"--timeout={ANSWER_S}s"),
            *("-s", str(SCRIPT), f"http://127.0.0.1:{endpoint.port}"),
            *("--", endpoint.path, endpoint.content_type, *files),
        ]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=seconds + ANSWER_S + 30)
    lines = [line for line in done.stdout.splitlines() if line.startswith("BENCH ")]
    if not lines:
        raise RuntimeError(f"wrk said nothing: {done.stdout[-300:]} {done.stderr[-300:]}")
    summary: dict[str, float] = json.loads(lines[-1].removeprefix("BENCH "))
    return summary
