"""The closed loop: our server, its peers and the in-process limit, the same model and the same pictures, in turns."""

from dataclasses import asdict, replace
from typing import Any

from rich.console import Console

from benchmarks import closed, limit, serving_report
from benchmarks.closed import Point, measure
from benchmarks.plan import SLOW_PER_S, Plan
from benchmarks.results import draw, write
from benchmarks.sides import OURS, Endpoint, Running, images_body
from benchmarks.subjects import SUBJECTS, Subject
from benchmarks.turns import Field, sides_up, turn

MANY = 32
"""Pictures in one request, for ours alone: the peers have no such request."""
MANY_SIDE = f"{OURS}, {MANY} images a request"
SLOW_CONNECTIONS = 32

Points = dict[str, dict[int, list[Point]]]
"""By side and connections, a point for each round."""


def run(plan: Plan, console: Console) -> dict[str, Any]:
    """Measure all subjects, print tables, write JSON and plots."""
    found: dict[str, Any] = {"rounds": plan.rounds, "seconds": plan.seconds, "subjects": {}}
    for name in plan.subjects:
        console.rule(f"{name}: the closed loop")
        result = _measure(SUBJECTS[name](plan.scratch), plan, console)
        found["subjects"][name] = result
        # At once: a run takes long, and may be cut off.
        label = "serving-quick" if plan.quick else "serving"
        draw(write(f"{label}-{name}", plan.machine, found | {"subjects": {name: result}}), console)
    return found


def _measure(subject: Subject, plan: Plan, console: Console) -> dict[str, Any]:
    with sides_up(subject, plan.peers, plan.seconds / 2, console) as up:
        console.print(up.running[OURS].facts["tuning"].strip())
        many = _many(up.running[OURS], subject)
        slow = _is_slow(up)
        wanted = [count for count in plan.connections if not slow or count <= SLOW_CONNECTIONS]
        names = [*up.running] if slow else [*up.running, MANY_SIDE]
        points: Points = {side: {count: [] for count in wanted} for side in names}
        limits: list[list[limit.Found]] = []
        ways: list[str] = []
        for place in range(plan.rounds):
            console.print(f"round {place + 1} of {plan.rounds} ...")
            for count in wanted:
                seconds = max(plan.seconds, 10.0) if slow else plan.seconds
                for name, running in up.running.items():
                    with turn(running):
                        points[name][count].append(measure(running.endpoint, running.process, count, seconds))
                        if name == OURS and not slow:
                            found = measure(many, running.process, count, seconds)
                            points[MANY_SIDE][count].append(_in_images(found))
            limits.append(limit.measure(subject.key, plan.scratch, plan.seconds / 5, ways))
            ways = ways or _fastest(limits[0])
    result = _as_json(up, points, limits)
    serving_report.show(subject.key, result, console)
    return result


def _many(ours: Running, subject: Subject) -> Endpoint:
    texts = subject.texts * MANY
    return replace(ours.endpoint, bodies=[images_body(ours.facts["predictor"], texts[:MANY])])


def _in_images(point: Point) -> Point:
    return replace(point, requests_per_s=point.requests_per_s * MANY, cpu_ms=point.cpu_ms / MANY)


def _is_slow(up: Field) -> bool:
    ours = up.running[OURS]
    with turn(ours):
        return closed.drive(ours.endpoint, 8, 2.0)["requests"] / 2.0 < SLOW_PER_S


def _fastest(found: list[limit.Found]) -> list[str]:
    """Choose what later rounds repeat: the fastest at each batch size, and the fastest as the server runs."""
    chosen = [limit.best(found, batch, way) for batch in limit.BATCHES for way in ("", "server")]
    return sorted({f"{entry.way}:{entry.threads}" for entry in chosen})


def _as_json(up: Field, points: Points, limits: list[list[limit.Found]]) -> dict[str, Any]:
    return {
        "sides": {
            side: {str(count): [point.as_dict() for point in rounds] for count, rounds in by_count.items()}
            for side, by_count in points.items()
        },
        "facts": {name: running.facts for name, running in up.running.items()},
        "missing": up.missing,
        "idle_cores": up.idle_cores,
        "limit": [[asdict(entry) for entry in found] for found in limits],
    }
