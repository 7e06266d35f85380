"""What must hold, beside what was measured."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import tracing
from benchmarks.serving import MANY_SIDE
from benchmarks.serving_report import limits, spread
from benchmarks.sides import OURS
from benchmarks.turns import Spread, shown

RESNET50_TIMES = {"resnet50": 1.6, "resnet50_bf16": 3.0}

JOBS_PER_S = {"sqlite": 400.0, "postgresql": 800.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A figure with its bound: at least, or at most."""

    text: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the figure is within its bound."""
        low = self.at_least is None or self.value >= self.at_least
        return low and (self.at_most is None or self.value <= self.at_most)


def show(found: dict[str, Any], console: Console) -> None:
    """Print the claims that this run can judge."""
    claims = [*_serving(found.get("serving")), *_open_loop(found.get("open_loop")), *_tensors(found.get("tensors"))]
    claims += [*_tracing(found.get("tracing")), *_mindspore(found.get("mindspore")), *_jobs(found.get("jobs"))]
    if not claims:
        return
    table = Table(title="What must hold (medians of this run)")
    for column in ("claim", "bound", "measured", ""):
        table.add_column(column, justify="left" if column == "claim" else "right")
    for claim in claims:
        bound = f">= {claim.at_least:g}" if claim.at_least is not None else f"<= {claim.at_most:g}"
        table.add_row(claim.text, bound, shown(claim.value), "[green]holds[/]" if claim.holds else "[red]doesn't[/]")
    console.print(table)


def _jobs(found: dict[str, Any] | None) -> Iterator[Claim]:
    for store, row in (found or {}).get("stores", {}).items():
        processes = [value for key, value in row.items() if key.startswith("processes ")]
        over_http = max(processes, key=lambda each: each["jobs_per_s"])  # how many there are is the operator's choice
        yield Claim(text=f"jobs a second, {store}, no HTTP", value=row["jobs_per_s"], at_least=JOBS_PER_S[store])
        yield Claim(text=f"jobs a second, {store}", value=over_http["jobs_per_s"], at_least=JOBS_PER_S[store])
        cost = row["long_queue_cpu_ms"] / row["short_queue_cpu_ms"]
        yield Claim(text=f"a job's cost beside {row['long_queue']:,} others, {store}", value=cost, at_most=1.5)
        yield Claim(text=f"cores for 1,000 pollers, {store}", value=over_http["pollers_cores"], at_most=1.0)
        yield Claim(text=f"KB a job that is waited for, {store}", value=row["waiting_bytes"] / 1e3, at_most=5.0)


def _serving(found: dict[str, Any] | None) -> Iterator[Claim]:
    subjects = (found or {}).get("subjects", {})
    if "lenet" in subjects:
        yield from _lenet(subjects["lenet"])
    for key, times in RESNET50_TIMES.items():
        if key in subjects:
            yield from _resnet50(key, subjects[key], times)


def _lenet(result: dict[str, Any]) -> Iterator[Claim]:
    measured = result["sides"][OURS]
    if "32" in measured and (rates := _of_peers(result, "32", "requests_per_s")):
        best = max(rates.values())
        ours = _of(result, OURS, "32", "requests_per_s")
        yield Claim(text="lenet, 32 connections: times the best peer's answers/s", value=ours / best, at_least=8.0)
        least = min(_of_peers(result, "32", "p99_ms").values())
        p99 = _of(result, OURS, "32", "p99_ms") / least
        yield Claim(text="lenet, 32 connections: share of the best peer's p99", value=p99, at_most=1.0)
    if "32" in measured:
        many = _of(result, MANY_SIDE, "32", "requests_per_s") / limits(result, 32).median
        yield Claim(text="lenet, 32 images a request: share of the in-process limit", value=many, at_least=0.5)
    if "1" in measured and "fastapi" in result["facts"]:
        p50 = _of(result, OURS, "1", "p50_ms") / _of(result, "fastapi", "1", "p50_ms")
        yield Claim(text="lenet, 1 connection: share of FastAPI's median", value=p50, at_most=0.65)


def _resnet50(key: str, result: dict[str, Any], times: float) -> Iterator[Claim]:
    if "8" not in result["sides"][OURS]:
        return
    ours = _of(result, OURS, "8", "requests_per_s")
    if rates := _of_peers(result, "8", "requests_per_s"):
        text = f"{key}, 8 connections: times the best peer's answers/s"
        yield Claim(text=text, value=ours / max(rates.values()), at_least=times)
    # Batches of 8 form at 8 connections; the better of the two measured sizes stands for them.
    same = max(limits(result, batch, "server").median for batch in (1, 32))
    yield Claim(text=f"{key}, 8 connections: share of the limit, same execution", value=ours / same, at_least=0.95)


def _open_loop(found: dict[str, Any] | None) -> Iterator[Claim]:
    for subject, result in (found or {}).get("subjects", {}).items():
        p99 = {
            side: Spread.of([point["p99_ms"] for point in by_share["0.75"]]).median
            for side, by_share in result["sides"].items()
            if "0.75" in by_share
        }
        ours = p99.pop(OURS, None)
        if ours is not None and p99:
            text = f"{subject}, open loop at 75 % of capacity: share of the best peer's p99"
            yield Claim(text=text, value=ours / min(p99.values()), at_most=0.5)


def _tensors(found: dict[str, Any] | None) -> Iterator[Claim]:
    for way, values in (found or {}).get("over_the_model_ms", {}).items():
        bound = found["allowed_ms"][way] if found else 0.0
        text = f"a 3x224x224 tensor as {way}: ms over the model"
        yield Claim(text=text, value=Spread.of(values).median, at_most=bound)


def _tracing(found: dict[str, Any] | None) -> Iterator[Claim]:
    for subject, result in (found or {}).get("subjects", {}).items():
        for side, bound in tracing.ALLOWED[subject].items():
            lost = Spread.of(tracing.costs(result["points"], side)).median
            asked = "no level (some are sampled)" if side == "sampled" else "APPLICATION on every request"
            text = f"{subject}, {result['connections']} connections, {asked}: share of the answers/s lost"
            yield Claim(text=text, value=lost, at_most=bound)


def _mindspore(found: dict[str, Any] | None) -> Iterator[Claim]:
    if found is None:
        return
    processes = max(found["points"], key=int)
    points = found["points"][processes]["add x 1"]["16"]
    rate = Spread.of([point["requests_per_s"] for point in points]).median
    text = f"mindspore: adding 2x2, 16 connections, {processes} processes: answers/s"
    yield Claim(text=text, value=rate, at_least=found["least_per_s"])
    for way, most in found["floats_allowed_ms"].items():
        took = Spread.of(found["floats_ms"][way]).median
        yield Claim(text=f"mindspore: 100,000 floats, {way}: ms", value=took, at_most=most)


def _of(result: dict[str, Any], side: str, connections: str, key: str) -> float:
    return spread(result["sides"][side][connections], key).median


def _of_peers(result: dict[str, Any], connections: str, key: str) -> dict[str, float]:
    peers = [side for side in result["facts"] if side != OURS]
    return {peer: _of(result, peer, connections, key) for peer in peers}
