"""What a 3x224x224 float32 tensor's way in costs over the model: as octets, and as numbers in JSON.

The model does next to nothing; what it takes, by the answer's own account, is taken off.
"""

import json
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import passing
from benchmarks.plan import Plan
from benchmarks.results import write
from benchmarks.sides import Endpoint, Running, start_ours
from benchmarks.subjects import Subject, read_manifest
from benchmarks.turns import Spread
from benchmarks.wire import Caller

SHAPE = (3, 224, 224)
REQUESTS = {"octets": 100, "JSON": 12}
ALLOWED_MS = {"octets": 2.0, "JSON": 30.0}


def run(plan: Plan, console: Console) -> dict[str, Any]:
    """Measure, print, write."""
    console.rule("a 3x224x224 tensor's way in")
    with started(plan.scratch / "passing") as running:
        port, predictor = running.endpoint.port, running.facts["predictor"]
        array = np.random.default_rng(3).random(SHAPE, np.float32)
        sent = {"octets": octets(port, predictor, array), "JSON": numbers(port, predictor, array)}
        found: dict[str, list[float]] = {name: [] for name in sent}
        for endpoint in sent.values():
            _over_the_model_ms(endpoint, 5)
        for _ in range(plan.rounds):
            for name, endpoint in sent.items():
                found[name].append(_over_the_model_ms(endpoint, REQUESTS[name]))
    result = {"over_the_model_ms": found, "allowed_ms": ALLOWED_MS}
    _show(result, console)
    write("tensors", plan.machine, result)
    return result


@contextmanager
def started(repository: Path, settings: dict[str, dict[str, object]] | None = None) -> Iterator[Running]:
    """Run our server with the passing model."""
    manifest = read_manifest(passing.write(repository) / "manifest.yaml")
    running = start_ours(
        Subject(key=passing.NAME, repository=repository, cache=repository / "cache", manifest=manifest, pictures=()),
        settings,
    )
    try:
        yield running
    finally:
        running.stop()


def octets(port: int, predictor: str, array: np.ndarray[Any, Any]) -> Endpoint:
    """Return the request that carries one array as bytes."""
    shape = ",".join(map(str, (1, *array.shape)))
    path = f"/api/predict/tensors?predictor_id={predictor}&shape={shape}&dtype=float32&feature_limit=1"
    return Endpoint(port=port, path=path, bodies=[array.tobytes()], content_type="application/octet-stream")


def numbers(port: int, predictor: str, array: np.ndarray[Any, Any]) -> Endpoint:
    """Return the request that carries one array as numbers."""
    item = {"id": "1", "dtype": "float32", "shape": list(array.shape), "data": array.reshape(-1).tolist()}
    body = {"predictor": {"id": predictor}, "tensors": [item], "options": {"feature_limit": 1}}
    return Endpoint(port=port, path="/api/predict/tensors", bodies=[json.dumps(body).encode()])


def _over_the_model_ms(endpoint: Endpoint, requests: int) -> float:
    with Caller(endpoint) as caller:
        return statistics.median(_rest_s(*caller.ask(endpoint.bodies[0])) for _ in range(requests)) * 1e3


def _rest_s(took_s: float, answer: bytes) -> float:
    """Take what the model took, as the answer tells it, off what the request took."""
    return took_s - float(json.loads(answer)["duration_for_inference"].removesuffix("s"))


def _show(result: dict[str, Any], console: Console) -> None:
    table = Table(title="3x224x224 float32, one connection: milliseconds over the model")
    for column in ("as", "ms", "allowed"):
        table.add_column(column, justify="right")
    for name, values in result["over_the_model_ms"].items():
        table.add_row(name, str(Spread.of(values)), f"{ALLOWED_MS[name]:g}")
    console.print(table)
