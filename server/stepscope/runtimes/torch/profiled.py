"""What torch's profiler saw of a run, as marks: operators, and on a GPU kernels and the calls that launched them.

An operator that a layer calls itself is of the level ML_LIBRARY; what it calls in turn, and what runs on the GPU, is
SYSTEM_LIBRARY. A kernel belongs to the operator that launched it, by the profiler's correlation ids.
"""

import bisect
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from stepscope.core.predictions import TraceLevel
from stepscope.core.recording import SETUP, BatchRecord, TagValue
from stepscope.core.trace_summary import CATEGORY, KERNEL, OPERATOR

MEMORY = "[memory]"
_ON_GPU = {"kernel": KERNEL, "gpu_memcpy": "memcpy", "gpu_memset": "memset"}
_CALLS = ("cuda_runtime", "cuda_driver")
_ON_HOST = ("cpu_op", "cpu_instant_event", *_CALLS)
LONGEST_NAME = 1024


class Profiler:
    """Profiles within `with`. Starting and stopping are noted as marks of their own, outside of the batch's time."""

    def __init__(self, record: BatchRecord, device: torch.device) -> None:
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
        self._record = record
        self._profile = profile(activities=activities, record_shapes=True, profile_memory=True)
        self._epoch_ns = 0

    def __enter__(self) -> "Profiler":
        started = time.perf_counter()
        self._profile.start()
        self._epoch_ns = time.time_ns() - time.perf_counter_ns()
        self._record.mark("profiler_start", TraceLevel.ML_LIBRARY_TRACE, started, time.perf_counter(), SETUP)
        return self

    def __exit__(self, *_: object) -> None:
        started = time.perf_counter()
        self._profile.stop()
        self._record.mark("profiler_stop", TraceLevel.ML_LIBRARY_TRACE, started, time.perf_counter(), SETUP)

    def mark(self, run: int, layers: Sequence[int]) -> None:
        """Note what was seen, below the mark of the run and those of its layers, which are in order of time."""
        results = self._profile.profiler.kineto_results if self._profile.profiler is not None else None
        if results is not None:
            _Marking(self._record, run, layers, self._epoch_ns).mark(results.events())


class _Marking:
    def __init__(self, record: BatchRecord, run: int, layers: Sequence[int], epoch_ns: int) -> None:
        self._record = record
        self._run = run
        self._layers = layers
        self._starts = [record.marks[place][2] for place in layers]
        self._epoch_ns = epoch_ns
        self._by_correlation: dict[int, int] = {}

    def mark(self, events: Sequence[Any]) -> None:
        """Operators first: what runs on the device refers to them."""
        _, _, began, ended, _, _ = self._record.marks[self._run]
        on_host = [event for event in events if event.activity_type() in _ON_HOST]
        threads = {event.start_thread_id() for event in on_host}
        for thread in sorted(threads):
            own = [event for event in on_host if event.start_thread_id() == thread]
            self._operators(event for event in own if began <= self._time(event.start_ns()) <= ended)
        for event in events:
            if event.activity_type() in _ON_GPU:
                self._on_device(event)

    def _operators(self, events: Iterator[Any]) -> None:
        """Nest the events of one thread by their times."""
        open_marks: list[tuple[int, int]] = []
        for event in sorted(events, key=lambda one: (one.start_ns(), -one.duration_ns())):
            while open_marks and event.start_ns() >= open_marks[-1][1]:
                open_marks.pop()
            if event.name() == MEMORY:
                if open_marks:
                    self._allocated(open_marks[-1][0], event.nbytes())
            elif event.activity_type() in ("cpu_op", *_CALLS):
                above = open_marks[-1][0] if open_marks else None
                is_shown = above is None or self._record.level >= TraceLevel.SYSTEM_LIBRARY_TRACE
                place = self._operator(event, above) if is_shown else open_marks[-1][0]
                open_marks.append((place, event.start_ns() + event.duration_ns()))

    def _operator(self, event: Any, above: int | None) -> int:
        started, ended = self._times(event)
        is_call = event.activity_type() in _CALLS
        level = TraceLevel.SYSTEM_LIBRARY_TRACE if is_call or above is not None else TraceLevel.ML_LIBRARY_TRACE
        tags: dict[str, TagValue] = {CATEGORY: "runtime" if is_call else OPERATOR}
        if is_call:
            tags["correlation_id"] = event.correlation_id()
        elif shapes := "; ".join("x".join(map(str, shape)) for shape in event.shapes() if shape and _is_flat(shape)):
            tags["input_shape"] = shapes
        parent = self._layer_at((started + ended) / 2) if above is None else above
        place = self._record.mark(event.name()[:LONGEST_NAME], level, started, ended, parent, tags)
        self._by_correlation[event.correlation_id()] = place
        return place

    def _on_device(self, event: Any) -> None:
        started, ended = self._times(event)
        above = self._by_correlation.get(event.linked_correlation_id())
        if above is None:
            above = self._by_correlation.get(event.correlation_id())
        tags: dict[str, TagValue] = {
            CATEGORY: _ON_GPU[event.activity_type()],
            "device_id": event.device_index(),
            "stream_id": event.device_resource_id(),
            "correlation_id": event.correlation_id(),
        }
        parent = self._layer_at((started + ended) / 2) if above is None else above
        name = event.name()[:LONGEST_NAME]
        self._record.mark(name, TraceLevel.SYSTEM_LIBRARY_TRACE, started, ended, parent, tags)

    def _allocated(self, place: int, size: int) -> None:
        name, level, started, ended, parent, tags = self._record.marks[place]
        if size > 0:
            so_far = int(tags.get("memory_allocated_bytes", 0))
            told = {**tags, "memory_allocated_bytes": so_far + size}
            self._record.marks[place] = (name, level, started, ended, parent, told)

    def _layer_at(self, at: float) -> int:
        """Return the layer that runs at a time, or the run itself between two layers."""
        number = bisect.bisect_right(self._starts, at) - 1
        if number >= 0 and at <= self._record.marks[self._layers[number]][3]:
            return self._layers[number]
        return self._run

    def _times(self, event: Any) -> tuple[float, float]:
        return self._time(event.start_ns()), self._time(event.start_ns() + event.duration_ns())

    def _time(self, unix_ns: int) -> float:
        return (unix_ns - self._epoch_ns) / 1e9


def _is_flat(shape: Sequence[Any]) -> bool:
    return all(isinstance(length, int) for length in shape)
