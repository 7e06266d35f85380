"""The mindspore wire: a tiny model's requests and LeNet's, at rising connections, and what many floats take.

The adding model does next to nothing, so its figures are those of the wire and the engine around it.
"""

import base64
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import adding
from benchmarks.closed import drive, measure
from benchmarks.plan import Plan
from benchmarks.results import write
from benchmarks.sides import Endpoint, Running, start_ours
from benchmarks.subjects import lenet
from benchmarks.turns import Spread, turn
from benchmarks.wire import Caller

CONNECTIONS = (1, 16, 64)
INSTANCES = (1, 32)
LEAST_PER_S = 3500.0
"""Answers of the adding model a second, at 16 connections, from as many processes as there are cores."""
FLOATS = 100_000
FLOATS_WAYS = ("JSON in", "JSON in, JSON out", "base64 in", "base64 in, JSON out")
FLOATS_ALLOWED_MS = {"JSON in, JSON out": 40.0, "base64 in": 5.0}
REQUESTS = 30
COLUMNS = ("processes", "requests", "connections", "answers/s", "instances/s", "ms (p50)", "ms (p99)", "CPU ms each")


def run(plan: Plan, console: Console) -> dict[str, Any]:
    """Measure, print, write."""
    console.rule("the mindspore wire")
    subject = lenet(plan.scratch)
    repository = plan.scratch / "servables"
    adding.write(repository)
    models: dict[str, object] = {"folders": [str(repository)], "cache": str(subject.cache)}
    result: dict[str, Any] = {"points": {}, "floats_allowed_ms": FLOATS_ALLOWED_MS, "least_per_s": LEAST_PER_S}
    for processes in sorted({1, os.cpu_count() or 1}):
        running = start_ours(subject, {"models": models, "server": {"processes": processes}})
        try:
            endpoints = _endpoints(running.endpoint.port, subject.texts)
            result["points"][str(processes)] = _points(plan, running, endpoints)
            if processes == 1:
                result["floats_ms"] = _floats(plan, running.endpoint.port)
        finally:
            running.stop()
    _show(result, console)
    write("mindspore", plan.machine, result)
    return result


def _endpoints(port: int, pictures: Sequence[str]) -> dict[str, Endpoint]:
    """Return the requests of each model, with one instance and with many."""
    square = [[1.0, 2.0], [3.0, 4.0]]
    images = [{"image": {"b64": text}} for text in pictures]
    found = {}
    for count in INSTANCES:
        added = _body([{"x1": square, "x2": square}] * count)
        found[f"add x {count}"] = Endpoint(port=port, path=f"/model/{adding.NAME}/version/1:add", bodies=[added])
        turned = [
            _body([images[(first + each) % len(images)] for each in range(count)]) for first in range(len(images))
        ]
        found[f"lenet x {count}"] = Endpoint(port=port, path="/model/lenet/version/1:predict", bodies=turned)
    return found


def _points(
    plan: Plan, running: Running, endpoints: dict[str, Endpoint]
) -> dict[str, dict[str, list[dict[str, float]]]]:
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    for endpoint in endpoints.values():
        drive(endpoint, max(CONNECTIONS), 1.0)  # so that each process has loaded the models
    for _ in range(plan.rounds):
        for name, endpoint in endpoints.items():
            for connections in CONNECTIONS:
                with turn(replace(running, endpoint=endpoint)):
                    point = measure(endpoint, running.process, connections, plan.seconds)
                found.setdefault(name, {}).setdefault(str(connections), []).append(point.as_dict())
    return found


def _floats(plan: Plan, port: int) -> dict[str, list[float]]:
    """Return the milliseconds that floats take, for each way in and out."""
    array = np.random.default_rng(3).random(FLOATS, np.float32)
    octets = {"b64": base64.b64encode(array.tobytes()).decode(), "type": "float32", "shape": [FLOATS]}
    bodies = {"JSON": _body([{"x": array.tolist()}]), "base64": _body([{"x": octets}])}
    found: dict[str, list[float]] = {}
    for way in FLOATS_WAYS:
        body = bodies[way.partition(" ")[0]]
        path = f"/model/{adding.NAME}:{'same' if 'out' in way else 'taken'}"
        with Caller(Endpoint(port=port, path=path, bodies=[body])) as caller:
            found[way] = [caller.call(body) * 1e3 for _ in range(plan.rounds * REQUESTS)]
    return found


def _body(instances: list[dict[str, Any]]) -> bytes:
    return json.dumps({"instances": instances}).encode()


def _show(result: dict[str, Any], console: Console) -> None:
    table = Table(title="the mindspore wire")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    rows = (
        (processes, name, connections, points)
        for processes, by_name in result["points"].items()
        for name, by_connections in by_name.items()
        for connections, points in by_connections.items()
    )
    for processes, name, connections, points in rows:
        instances = int(name.rpartition(" ")[2])
        rate, p50, p99, cpu = (
            Spread.of([point[key] for point in points]) for key in ("requests_per_s", "p50_ms", "p99_ms", "cpu_ms")
        )
        many = f"{rate.median * instances:,.0f}"
        table.add_row(processes, name, connections, str(rate), many, str(p50), str(p99), str(cpu))
    console.print(table)
    for name, times in result["floats_ms"].items():
        console.print(f"{FLOATS:,} floats, {name}: {Spread.of(times)} ms")
