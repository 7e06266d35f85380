"""What tracing costs: one server, asked for no trace, for nothing (some are sampled), and for the steps of all.

The three take turns within each round, in another order each time, and are compared within it: the machine's moods
are larger than what is looked for.
"""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.closed import measure
from benchmarks.plan import Plan
from benchmarks.results import write
from benchmarks.sides import Endpoint, Running, start_ours
from benchmarks.subjects import SUBJECTS
from benchmarks.turns import Spread, turn

CONNECTIONS = {"lenet": 32, "resnet50": 8}
LEVELS = {"none": "NO_TRACE", "sampled": None, "steps": "APPLICATION_TRACE"}
"""What each side asks for."""
ALLOWED = {"lenet": {"sampled": 0.01, "steps": 0.10}, "resnet50": {"sampled": 0.01, "steps": 0.01}}
"""Shares of the throughput without traces that may be lost."""
ROUNDS = 3
"""How many times the plan's rounds are run: one per cent is a small thing to see."""
SLOW_S = 10.0


def run(plan: Plan, console: Console) -> dict[str, Any]:
    """Measure, print, write."""
    found: dict[str, Any] = {"allowed": ALLOWED, "subjects": {}}
    for name in CONNECTIONS:
        if name in plan.subjects:
            console.rule(f"{name}: what tracing costs")
            found["subjects"][name] = _measure(name, plan)
    _show(found, console)
    write("tracing", plan.machine, found)
    return found


def _measure(name: str, plan: Plan) -> dict[str, Any]:
    running = start_ours(SUBJECTS[name](plan.scratch))
    with closing(_Stopping(running)):
        sides = {side: _asking(running.endpoint, level) for side, level in LEVELS.items()}
        seconds = plan.seconds if name == "lenet" else max(plan.seconds, SLOW_S)
        points: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
        order = list(sides)
        with turn(running):
            measure(running.endpoint, running.process, CONNECTIONS[name], seconds)
        for _ in range(plan.rounds * ROUNDS):
            for side in order:
                with turn(replace(running, endpoint=sides[side])):
                    point = measure(sides[side], running.process, CONNECTIONS[name], seconds)
                points[side].append(point.as_dict())
            order = [*order[1:], order[0]]
    return {"connections": CONNECTIONS[name], "points": points}


class _Stopping:
    """Closes what is running by stopping it."""

    def __init__(self, running: Running) -> None:
        self.close = running.stop


def _asking(endpoint: Endpoint, level: str | None) -> Endpoint:
    """Return the same requests, asking for a level."""
    bodies: list[bytes] = []
    for body in endpoint.bodies:
        document = json.loads(body)
        if level is not None:
            document["options"]["execution_options"] = {"trace_level": level}
        bodies.append(json.dumps(document).encode())
    return replace(endpoint, bodies=bodies)


def costs(points: dict[str, list[dict[str, float]]], side: str) -> Sequence[float]:
    """Return the share of the throughput that a side lost, for each round."""
    pairs = zip(points[side], points["none"], strict=True)
    return [1 - point["requests_per_s"] / base["requests_per_s"] for point, base in pairs]


def _show(found: dict[str, Any], console: Console) -> None:
    table = Table(title="what tracing costs")
    for column in ("model", "connections", "asked for", "answers/s", "ms (p50)", "CPU ms each", "lost", "allowed"):
        table.add_column(column, justify="right")
    for name, result in found["subjects"].items():
        for side, points in result["points"].items():
            keys = ("requests_per_s", "p50_ms", "cpu_ms")
            rate, p50, cpu = (str(Spread.of([point[key] for point in points])) for key in keys)
            lost = Spread.of(costs(result["points"], side))
            allowed = f"{ALLOWED[name][side]:.0%}" if side in ALLOWED[name] else ""
            shown = "" if side == "none" else f"{lost.median:.1%} [dim]{lost.least:.1%} to {lost.most:.1%}[/]"
            table.add_row(name, str(result["connections"]), side, rate, p50, cpu, shown, allowed)
    console.print(table)
