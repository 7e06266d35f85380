"""The open loop: each side at shares of its own capacity, latency counted from when a request was meant to leave."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import closed
from benchmarks.machine import ROOT
from benchmarks.plan import SLOW_PER_S, Plan
from benchmarks.processes import Process, free_port
from benchmarks.results import draw, write
from benchmarks.sides import OURS, Endpoint, get
from benchmarks.subjects import SUBJECTS, Subject
from benchmarks.turns import Field, Spread, shown, sides_up, turn

CAPACITY_CONNECTIONS = (8, 32)
LEAST_REQUESTS = 300
MOST_S = 60.0
AGREEMENT = 0.15
"""How far the generator and wrk may differ in the same closed loop."""
CHECK_CONNECTIONS = 8


def run(plan: Plan, console: Console) -> dict[str, Any]:
    """Measure all subjects, print tables, write JSON and plots."""
    found: dict[str, Any] = {"shares": list(plan.shares), "null": _null(plan), "subjects": {}}
    _show_null(found["null"], console)
    for name in plan.subjects:
        console.rule(f"{name}: the open loop")
        result = _measure(SUBJECTS[name](plan.scratch), plan, console)
        found["subjects"][name] = result
        label = "open_loop-quick" if plan.quick else "open_loop"
        draw(write(f"{label}-{name}", plan.machine, found | {"subjects": {name: result}}), console)
    return found


def generate(endpoint: Endpoint, seconds: float, **options: float) -> dict[str, float]:
    """Run the generator: with `rate` and `seed` open, with `connections` closed."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        files = [Path(folder) / str(place) for place, _ in enumerate(endpoint.bodies)]
        for path, body in zip(files, endpoint.bodies, strict=True):
            path.write_bytes(body)
        argv = [
            *(sys.executable, "-m", "benchmarks.generator", f"--port={endpoint.port}", f"--path={endpoint.path}"),
            *(f"--content-type={endpoint.content_type}", f"--seconds={seconds}"),
            *(f"--{key}={value}" for key, value in options.items()),
            *map(str, files),
        ]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"the generator failed: {done.stderr[-500:]}")
    summary: dict[str, float] = json.loads(done.stdout)
    return summary


def _measure(subject: Subject, plan: Plan, console: Console) -> dict[str, Any]:
    with sides_up(subject, plan.peers, plan.seconds / 2, console) as up:
        with turn(up.running[OURS]):
            check = _check(up, plan)
        sides: dict[str, dict[str, list[dict[str, float]]]] = {
            name: {str(share): [] for share in plan.shares} for name in up.running
        }
        capacities: dict[str, list[float]] = {name: [] for name in up.running}
        for place in range(plan.rounds):
            console.print(f"round {place + 1} of {plan.rounds} ...")
            for name, running in up.running.items():
                with turn(running):
                    capacity = _capacity(running.endpoint, plan.seconds)
                    capacities[name].append(capacity)
                    for share in plan.shares:
                        seconds = min(MOST_S, max(plan.seconds, LEAST_REQUESTS / (capacity * share)))
                        found = generate(running.endpoint, seconds, rate=capacity * share, seed=place + 1)
                        sides[name][str(share)].append(found)
    result = {"sides": sides, "capacities": capacities, "check": check, "missing": up.missing}
    _show(subject.key, result, console)
    return result


def _capacity(endpoint: Endpoint, seconds: float) -> float:
    """Answers per second in the closed loop, at the better number of connections."""
    return max(_rate(endpoint, count, seconds) for count in CAPACITY_CONNECTIONS)


def _rate(endpoint: Endpoint, connections: int, seconds: float) -> float:
    found = closed.drive(endpoint, connections, seconds)
    return max(found["requests"] / found["seconds"], 0.1)


def _check(up: Field, plan: Plan) -> dict[str, list[float]]:
    """Measure the same closed loop on ours by wrk and by the generator, in turns."""
    endpoint = up.running[OURS].endpoint
    slow = _rate(endpoint, CHECK_CONNECTIONS, 2.0) < SLOW_PER_S
    seconds = max(plan.seconds, 10.0) if slow else plan.seconds
    found: dict[str, list[float]] = {"wrk": [], "generator": []}
    for _ in range(plan.rounds):
        found["wrk"].append(_rate(endpoint, CHECK_CONNECTIONS, seconds))
        mine = generate(endpoint, seconds, connections=CHECK_CONNECTIONS)
        found["generator"].append(mine["requests_per_s"])
    return found


def _null(plan: Plan) -> dict[str, float]:
    """See what wrk and the generator can do at most, on a server that does nothing."""
    port = free_port()
    endpoint = Endpoint(port=port, path="/", bodies=[b'{"image": "%s"}' % (b"A" * 800)])
    with tempfile.NamedTemporaryFile(prefix="bench-") as log:
        argv = [sys.executable, "-m", "benchmarks.null", str(port)]
        process = Process(argv=argv, log=Path(log.name), folder=ROOT)
        try:
            process.start()
            process.wait(lambda: get(port, "/")[0] == 200)
            wrk = _rate(endpoint, 32, plan.seconds)
            mine = generate(endpoint, plan.seconds, connections=32)
            opened = generate(endpoint, plan.seconds, rate=1000.0, seed=1)
        finally:
            process.stop()
    return {
        "wrk_per_s": wrk,
        "generator_per_s": mine["requests_per_s"],
        "open_p50_ms": opened["p50_ms"],
        "open_p99_ms": opened["p99_ms"],
        "open_lag_p99_ms": opened["lag_p99_ms"],
    }


def _show_null(found: dict[str, float], console: Console) -> None:
    console.print(
        f"on a server that does nothing: wrk {shown(found['wrk_per_s'])}/s, the generator "
        f"{shown(found['generator_per_s'])}/s; open at 1,000/s: p50 {shown(found['open_p50_ms'])} ms, "
        f"p99 {shown(found['open_p99_ms'])} ms, of which late by itself {shown(found['open_lag_p99_ms'])} ms"
    )


def _show(subject: str, result: dict[str, Any], console: Console) -> None:
    table = Table(title=f"{subject}, open loop, latency from the intended time: medians of the rounds, least-most")
    for column in ("side", "capacity/s", "share", "achieved/offered", "p50 ms", "p99 ms", "p99 / ours", "errors"):
        table.add_column(column, justify="left" if column == "side" else "right", no_wrap=True)
    for name, by_share in result["sides"].items():
        capacity = Spread.of(result["capacities"][name])
        for share, rounds in by_share.items():
            ours = result["sides"][OURS][share]
            ratio = Spread.of(
                [t["p99_ms"] / o["p99_ms"] if o["p99_ms"] else 0.0 for t, o in zip(rounds, ours, strict=True)]
            )
            achieved = Spread.of([point["achieved_per_s"] / point["offered_per_s"] for point in rounds])
            latencies = [str(Spread.of([point[key] for point in rounds])) for key in ("p50_ms", "p99_ms")]
            errors = round(sum(point["errors"] for point in rounds))
            cells = [str(capacity), f"{float(share):.0%}", f"{achieved.median:.0%}", *latencies, str(ratio)]
            table.add_row(name, *cells, f"[bold red]{errors}[/]" if errors else "0")
        table.add_section()
    wrk, mine = (Spread.of(result["check"][key]) for key in ("wrk", "generator"))
    off = mine.median / wrk.median - 1
    colour = "red" if abs(off) > AGREEMENT else "green"
    console.print(table)
    console.print(
        f"check on ours, {CHECK_CONNECTIONS} connections, closed loop: wrk {wrk}/s, generator {mine}/s: "
        f"[{colour}]{off:+.0%}[/] (up to {AGREEMENT:.0%} is taken as the same)"
    )
