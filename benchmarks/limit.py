"""The in-process limit: decode, prepare, batch, run, top five, in one loop without a server.

Run in a process of its own, which prints JSON. Each way to run the model is tried with one thread and with all; the
best is the limit. `server` is what the server runs (the runtime and the codecs, input by input), `eager` and
`frozen` fill one array for the batch and take the five likeliest classes of all rows at once.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT

BATCHES = (1, 32)
LEAST = 2
Step = Callable[[Sequence[str]], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How fast one way is."""

    way: str
    threads: int
    batch: int
    images_per_s: float
    p50_ms: float


def measure(subject: str, scratch: Path, seconds: float, ways: Sequence[str] = ()) -> list[Found]:
    """Measure in another process; `ways` are `way:threads`, all when empty."""
    argv = [sys.executable, "-m", "benchmarks.limit", f"--seconds={seconds}", subject, str(scratch), *ways]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"the limit can't be measured: {done.stderr[-500:]}")
    return [Found(**entry) for entry in json.loads(done.stdout.splitlines()[-1])]


def best(found: Sequence[Found], batch: int, way: str = "") -> Found:
    """Return the fastest way at a batch size, or the fastest variant of one way."""
    fitting = [entry for entry in found if entry.batch == batch and way in ("", entry.way)]
    return max(fitting, key=lambda entry: entry.images_per_s)


def _all_ways() -> list[str]:
    threads = sorted({1, os.cpu_count() or 1})
    return [f"{way}:{count}" for way in ("server", "eager", "frozen") for count in threads]


def _run(name: str, scratch: Path, seconds: float, ways: Sequence[str]) -> list[Found]:
    import torch

    from benchmarks.subjects import SUBJECTS

    subject = SUBJECTS[name](scratch)
    made: dict[str, Step] = {}
    found = []
    for entry in ways:
        way, _, threads = entry.partition(":")
        torch.set_num_threads(int(threads))
        step = made.setdefault(way, _WAYS[way](subject))
        for batch in BATCHES:
            took = _times(step, subject.texts, batch, seconds)
            median = statistics.median(took)
            rate = batch * len(took) / sum(took)
            found.append(Found(way=way, threads=int(threads), batch=batch, images_per_s=rate, p50_ms=median * 1e3))
    return found


def _times(step: Step, texts: Sequence[str], batch: int, seconds: float) -> list[float]:
    turns = itertools.cycle(texts)
    for _ in range(LEAST):
        step([next(turns) for _ in range(batch)])
    took: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(took) < LEAST:
        chosen = [next(turns) for _ in range(batch)]
        started = time.perf_counter()
        step(chosen)
        took.append(time.perf_counter() - started)
    return took


def _server(subject: Any) -> Step:
    """Run as the server does, by the same functions."""
    from stepscope.app.runtime import tuning_options
    from stepscope.codecs import octets
    from stepscope.codecs.features import classes
    from stepscope.codecs.images import decode, preprocess
    from stepscope.runtimes.torch import TorchRuntime
    from stepscope.settings import Settings

    runtime = TorchRuntime(tuning=tuning_options(Settings()), folder=subject.cache / "tuning")
    model = runtime.load(subject.manifest, runtime.devices()[0])
    if model.tuning is not None:
        model.tuning.wait()
    spec = subject.spec
    labels = subject.task()["labels"]

    def step(texts: Sequence[str]) -> object:
        arrays = [(preprocess(decode(octets.decode(text), spec), spec),) for text in texts]
        return [classes(ranking, labels, 5) for ranking in model.rank(arrays, 5)]

    return step


def _eager(subject: Any) -> Step:
    import torch

    from stepscope.runtimes.torch.formats import load

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module, _ = load(subject.manifest, device)
    return _with(subject, module, device)


def _frozen(subject: Any) -> Step:
    """The layers folded together by TorchScript, with the channels last where there are several."""
    import torch

    from stepscope.runtimes.torch.formats import load

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module, _ = load(subject.manifest, device)
    example = torch.zeros(2, *subject.spec.dimensions, device=device)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        if example.shape[1] > 1:
            module.to(memory_format=torch.channels_last)  # type: ignore[attr-defined]
            example = example.to(memory_format=torch.channels_last)
        traced = torch.jit.trace(module, example)  # type: ignore[no-untyped-call]
        frozen = torch.jit.optimize_for_inference(torch.jit.freeze(traced.eval()))
    return _with(subject, frozen, device)


def _with(subject: Any, module: Callable[..., Any], device: Any) -> Step:
    import numpy as np
    import torch

    from stepscope.codecs import octets
    from stepscope.codecs.images import decode, preprocess
    from stepscope.core.frames import normalised

    spec = subject.spec
    several = spec.dimensions[0] > 1

    def step(texts: Sequence[str]) -> object:
        frames = [preprocess(decode(octets.decode(text), spec), spec) for text in texts]
        staged = normalised(np.stack([frame.pixels for frame in frames]), spec)  # type: ignore[union-attr]
        with torch.inference_mode():
            images = torch.from_numpy(staged).to(device)
            images = images.to(memory_format=torch.channels_last) if several else images
            values, indices = torch.softmax(module(images), 1).topk(5, 1)
        return values.tolist(), indices.tolist()

    return step


_WAYS: dict[str, Callable[[Any], Step]] = {"server": _server, "eager": _eager, "frozen": _frozen}


def main() -> None:
    """Print what was found as JSON."""
    from dataclasses import asdict

    parser = argparse.ArgumentParser()
    parser.add_argument("subject")
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("ways", nargs="*")
    given = parser.parse_args()
    found = _run(given.subject, given.scratch, given.seconds, given.ways or _all_ways())
    print(json.dumps([asdict(entry) for entry in found]))


if __name__ == "__main__":
    main()
