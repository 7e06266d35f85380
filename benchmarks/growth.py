"""How cost grows with what a server holds and is sent: latency, throughput and memory, our server alone."""

import json
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import closed, passing
from benchmarks.plan import Plan
from benchmarks.results import draw, write
from benchmarks.sides import Endpoint, Running, images_body, open_predictor, start_ours
from benchmarks.subjects import SUBJECTS
from benchmarks.tensors import numbers, octets, started
from benchmarks.turns import shown
from benchmarks.wire import Caller

Row = dict[str, float]
PREDICTORS = (1, 10, 100, 1_000, 10_000)
MODELS = (1, 5, 10, 20, 35, 50)
CONNECTIONS = (1, 2, 8, 32, 128, 512, 1_000, 2_000)
IMAGES = (1, 4, 16, 32, 64, 128, 256, 512, 1_024)
TENSOR_BYTES = (1_000, 10_000, 100_000, 1_000_000, 5_000_000, 20_000_000, 50_000_000)
JSON_BYTES = 5_000_000
"""The largest tensor sent as numbers: in digits it takes three to five times as much of the 64 MiB that a body may."""
CALLS = 30
CONNECTIONS_PER_S = 100
"""With more connections a point takes longer, until the first burst is over: all send at once when wrk starts."""


def run(plan: Plan, console: Console) -> dict[str, Any]:
    """Measure all, print tables, write JSON and plots."""
    console.rule("how cost grows")
    found = {}
    for name, measure in _MEASURES.items():
        console.print(f"{name} ...")
        rows = measure(plan)
        found[name] = rows
        console.print(_table(name, rows))
    draw(write("growth", plan.machine, {"growth": found}), console)
    return found


def _open_predictors(plan: Plan) -> list[Row]:
    """Open more and more predictors on one model; predict on the first and the last."""
    subject = SUBJECTS["lenet"](plan.scratch)
    running = start_ours(subject)
    rows = []
    try:
        opening = Endpoint(port=running.endpoint.port, path="/api/predict/open", bodies=[])
        body = json.dumps({"model_name": subject.name}).encode()
        _latencies(running.endpoint, CALLS)
        count = 1
        for wanted in PREDICTORS:
            with Caller(opening) as caller:
                took = [caller.call(body) for _ in range(wanted - count)]
            count = wanted
            row = {"count": count} | ({"open_ms": statistics.median(took) * 1e3} if took else {})
            rows.append(row | _latencies(running.endpoint, CALLS) | _memory(running))
    finally:
        running.stop()
    return rows


def _loaded_models(plan: Plan) -> list[Row]:
    """Load more and more small models, and predict on all of them in turns."""
    repository = plan.scratch / "many"
    for place in range(MODELS[-1]):
        passing.write(repository, f"passing-{place}")
    rows = []
    array = np.ones((3, 8, 8), np.float32)
    with started(repository, {"tuning": {"enabled": False}}) as running:
        port = running.endpoint.port
        open_ones: list[str] = []
        took: list[float] = []
        for wanted in MODELS:
            while len(open_ones) < wanted:
                opening = Endpoint(port=port, path="/api/predict/open", bodies=[])
                with Caller(opening) as caller:
                    took.append(caller.call(json.dumps({"model_name": f"passing-{len(open_ones)}"}).encode()))
                open_ones.append(open_predictor(port, f"passing-{len(open_ones)}"))
            each = [_latencies(octets(port, predictor, array), 4)["p50_ms"] for predictor in open_ones]
            opened = {"open_ms": statistics.median(took) * 1e3, "p50_ms": statistics.median(each)}
            rows.append({"count": wanted, **opened, "p99_ms": max(each)} | _memory(running))
    return rows


def _connections(plan: Plan) -> list[Row]:
    """Keep more and more connections busy."""
    running = start_ours(SUBJECTS["lenet"](plan.scratch))
    rows = []
    try:
        closed.drive(running.endpoint, 8, 2.0)
        for count in CONNECTIONS:
            seconds = plan.seconds + count / CONNECTIONS_PER_S
            point = closed.measure(running.endpoint, running.process, count, seconds)
            rows.append(
                {"count": count, **{key: value for key, value in point.as_dict().items() if key != "connections"}}
            )
    finally:
        running.stop()
    return rows


def _images(plan: Plan) -> list[Row]:
    """Send more and more images in one request."""
    subject = SUBJECTS["lenet"](plan.scratch)
    running = start_ours(subject)
    rows = []
    try:
        texts = subject.texts * IMAGES[-1]
        _latencies(running.endpoint, CALLS)
        for count in IMAGES:
            body = images_body(running.facts["predictor"], texts[:count])
            endpoint = Endpoint(port=running.endpoint.port, path=running.endpoint.path, bodies=[body])
            row = _latencies(endpoint, CALLS)
            rows.append({"count": count, **row, "images_per_s": count / row["p50_ms"] * 1e3} | _memory(running))
    finally:
        running.stop()
    return rows


def _tensor_sizes(plan: Plan) -> list[Row]:
    """Send larger and larger tensors, as octets and as numbers."""
    rows = []
    with started(plan.scratch / "passing") as running:
        port, predictor = running.endpoint.port, running.facts["predictor"]
        for size in TENSOR_BYTES:
            array = np.random.default_rng(1).random((size // 4,), np.float32)
            calls = max(5, min(CALLS, 20_000_000 // size))
            row: Row = {"count": size} | _latencies(octets(port, predictor, array), calls)
            row["mb_per_s"] = size / row["p50_ms"] / 1e3
            if size <= JSON_BYTES:
                row["json_p50_ms"] = _latencies(numbers(port, predictor, array), calls)["p50_ms"]
            rows.append(row | _memory(running))
    return rows


def _latencies(endpoint: Endpoint, calls: int) -> Row:
    """Return the median and the worst of some requests one after the other, after two that don't count."""
    with Caller(endpoint) as caller:
        took = [caller.call(endpoint.bodies[place % len(endpoint.bodies)]) for place in range(calls + 2)][2:]
    return {"p50_ms": statistics.median(took) * 1e3, "p99_ms": max(took) * 1e3}


def _memory(running: Running) -> Row:
    return {"memory_mb": running.process.usage().memory_bytes / 2**20}


def _table(name: str, rows: Sequence[Row]) -> Table:
    table = Table(title=f"by {name}")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*[_cell(column, row) for column in columns])
    return table


def _cell(column: str, row: Row) -> str:
    if column not in row:
        return ""
    return f"{row[column]:,.0f}" if column in ("count", "requests", "errors") else shown(row[column])


_MEASURES: dict[str, Callable[[Plan], list[Row]]] = {
    "open predictors": _open_predictors,
    "loaded models": _loaded_models,
    "connections": _connections,
    "images per request": _images,
    "bytes per tensor": _tensor_sizes,
}
