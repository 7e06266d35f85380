"""CUDA graphs: one launch for a whole batch, from input buffers that stay where they are.

A graph is captured for each step of a ladder of batch sizes; a batch goes into the next larger one, and what comes of
the rows behind it is dropped. Nothing here ran on a GPU before it was committed except where `tests/gpu` says so.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from stepscope.core.tuning import step_of
from stepscope.runtimes.torch.batches import Run, Tensors
from stepscope.runtimes.torch.faults import LoadFault

WARM_UP_RUNS = 3
"""Runs before a capture: cuDNN and cuBLAS choose and allocate in the first ones."""
_CAPTURING = threading.Lock()
"""One capture at a time in this process: TF32 is a switch that all share."""

Replay = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Captured:
    """A graph with its buffers: `replay` computes `outputs` from what lies in `inputs`."""

    replay: Replay
    inputs: Tensors
    outputs: Tensors


Capture = Callable[[int], Captured]
"""Captures the model at a batch size."""


class Graphs:
    """Captured graphs by batch size. Not for use by two threads at once."""

    def __init__(self, capture: Capture, steps: tuple[int, ...], fallback: Run) -> None:
        # The largest first: the smaller ones then find their memory in its pool.
        self._captured = {step: capture(step) for step in sorted(steps, reverse=True)}
        self._steps = tuple(sorted(steps))
        self._fallback = fallback

    def __call__(self, tensors: Tensors) -> Tensors:
        """Run a batch; the outputs are the caller's own."""
        count = len(tensors[0])
        if count > self._steps[-1]:
            return self._fallback(tensors)
        graph = self._captured[step_of(self._steps, count)]
        for buffer, tensor in zip(graph.inputs, tensors, strict=True):
            buffer[:count].copy_(tensor, non_blocking=True)
        graph.replay()
        return tuple(output[:count].clone() for output in graph.outputs)


def captured(run: Run, example: Tensors, steps: tuple[int, ...], *, tf32: bool) -> Run:
    """Capture a model for each step. Raises `LoadFault` without a GPU, and what CUDA raises."""
    device = example[0].device
    if device.type != "cuda":
        raise LoadFault("CUDA graphs need a CUDA device")
    pool = torch.cuda.graph_pool_handle()

    def capture(size: int) -> Captured:
        buffers = tuple(torch.zeros((size, *each.shape[1:]), dtype=each.dtype, device=device) for each in example)
        return _capture(run, buffers, pool)

    with _CAPTURING, torch.cuda.device(device), torch.inference_mode():
        before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        try:
            return Graphs(capture, steps or (1,), run)
        finally:
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def _capture(run: Run, buffers: Tensors, pool: Any) -> Captured:
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP_RUNS):
            run(buffers)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    # Other threads may use the device meanwhile: the device's own thread serves.
    with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
        outputs = run(buffers)
    return Captured(graph.replay, buffers, outputs)
