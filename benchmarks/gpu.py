"""Where there is a GPU: images a second through HTTP, raw tensors 128 at a time, against a loop of CUDA graphs.

The loop replays a captured ResNet-50 on inputs that are on the device already: what the device can do at most.
`uint8` octets are sent where the server takes them for this model, `float32` ones otherwise.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.plan import Plan
from benchmarks.results import write
from benchmarks.sides import Endpoint, post, start_ours
from benchmarks.subjects import SUBJECTS, Subject
from benchmarks.turns import Spread
from benchmarks.wire import Caller

BATCH = 128
CLIENTS = 8
DTYPES: dict[str, type[np.generic]] = {"uint8": np.uint8, "float32": np.float32}
SETTINGS: dict[str, dict[str, object]] = {"predict": {"batch_size": BATCH}, "limits": {"body_mb": 256}}


def run(plan: Plan, console: Console) -> dict[str, Any] | None:
    """Measure, print, write; say so where there is no GPU."""
    if not torch.cuda.is_available():
        console.print("gpu: no CUDA device here, not measured")
        return None
    console.rule("resnet50 on the GPU")
    subject = SUBJECTS["resnet50"](plan.scratch)
    rows: dict[str, list[float]] = {"raw loop fp32": [], "raw loop bf16": []}
    loops = {name: _graph(subject, kind) for name, kind in zip(rows, (torch.float32, torch.bfloat16), strict=True)}
    refused: dict[str, str] = {}
    running = start_ours(subject, SETTINGS)
    try:
        sent = {f"HTTP {name}": _endpoint(running, subject, name) for name in DTYPES}
        for name, endpoint in list(sent.items()):
            status, answer = post(endpoint, endpoint.bodies[0])
            if status != 200:
                refused[name] = f"{status}: {answer[:200]!r}"
                del sent[name]
        rows |= {name: [] for name in sent}
        for _ in range(plan.rounds):
            for name, loop in loops.items():
                rows[name].append(_loop_rate(loop, plan.seconds))
            for name, endpoint in sent.items():
                rows[name].append(_http_rate(endpoint, plan.seconds))
    finally:
        running.stop()
    result = {"images_per_s": rows, "refused": refused, "batch": BATCH, "clients": CLIENTS}
    _show(result, console)
    write("gpu", plan.machine, result)
    return result


def _endpoint(running: Any, subject: Subject, name: str) -> Endpoint:
    dimensions = subject.spec.dimensions
    assert dimensions is not None
    array = np.random.default_rng(5).integers(0, 256, (BATCH, *dimensions)).astype(DTYPES[name])
    shape = ",".join(map(str, array.shape))
    predictor = running.facts["predictor"]
    path = f"/api/predict/tensors?predictor_id={predictor}&shape={shape}&dtype={name}&feature_limit=5"
    return Endpoint(
        port=running.endpoint.port, path=path, bodies=[array.tobytes()], content_type="application/octet-stream"
    )


def _graph(subject: Subject, kind: torch.dtype) -> torch.cuda.CUDAGraph:
    """Capture the model on a batch."""
    from stepscope.runtimes.torch.formats import load

    module, _ = load(subject.manifest, torch.device("cuda"))
    assert isinstance(module, torch.nn.Module)
    module = module.to(kind, memory_format=torch.channels_last)  # type: ignore[call-overload]
    dimensions = subject.spec.dimensions
    assert dimensions is not None
    batch = torch.zeros(BATCH, *dimensions, device="cuda", dtype=kind).to(memory_format=torch.channels_last)
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream), torch.inference_mode():
        for _ in range(5):
            module(batch)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.inference_mode(), torch.cuda.graph(graph):
        module(batch)
    # The graph reads these where they lie.
    graph.kept = (module, batch)  # type: ignore[attr-defined]
    return graph


def _loop_rate(graph: torch.cuda.CUDAGraph, seconds: float) -> float:
    torch.cuda.synchronize()
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        for _ in range(10):
            graph.replay()
        torch.cuda.synchronize()
        count += 10 * BATCH
    return count / (time.perf_counter() - started)


def _http_rate(endpoint: Endpoint, seconds: float) -> float:
    until = time.perf_counter() + seconds

    def client(_: int) -> int:
        done = 0
        with Caller(endpoint) as caller:
            while time.perf_counter() < until:
                caller.call(endpoint.bodies[0])
                done += BATCH
        return done

    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        done = sum(pool.map(client, range(CLIENTS)))
    return done / (time.perf_counter() - started)


def _show(result: dict[str, Any], console: Console) -> None:
    table = Table(title=f"resnet50, batches of {BATCH}, {CLIENTS} clients: images/s")
    for column in ("way", "images/s", "of the bf16 loop"):
        table.add_column(column, justify="left" if column == "way" else "right")
    most = Spread.of(result["images_per_s"]["raw loop bf16"]).median
    for name, values in result["images_per_s"].items():
        found = Spread.of(values)
        table.add_row(name, str(found), f"{found.median / most:.0%}")
    for name, reason in result["refused"].items():
        table.add_row(name, f"[red]refused: {reason}[/]", "")
    console.print(table)
