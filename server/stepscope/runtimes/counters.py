"""Counters of the machine, sampled while something runs: processor, memory, and a GPU's own.

Sampled once at the start, once at the end, and every few milliseconds between, on a thread of its own. What a machine
doesn't tell (few tell temperatures) is left out.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any, Self

import psutil
import pynvml

from stepscope.core.recording import Sample

INTERVAL_S = 0.02
LEAST_S = 0.02
"""Shorter times say nothing of how busy the processors are: the system counts in hundredths of a second."""


class Counters:
    """Samples within `with`; `samples` has them afterwards. `gpu` is a GPU's UUID as NVML writes it, "" for none."""

    def __init__(self, gpu: str = "") -> None:
        self.samples: list[Sample] = []
        self._process = psutil.Process()
        self._gpu = _Gpu(gpu) if gpu else None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="counters", daemon=True)
        self._before = _busy()

    def __enter__(self) -> Self:
        self._sample()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._sample()
        if self._gpu is not None:
            self._gpu.close()

    def _work(self) -> None:
        while not self._ended.wait(INTERVAL_S):
            self._sample()

    def _sample(self) -> None:
        values: dict[str, float] = {"memory.rss_bytes": float(self._process.memory_info().rss)}
        memory = psutil.virtual_memory()
        values["memory.used_percent"] = memory.percent
        values |= self._processors()
        if self._gpu is not None:
            values |= self._gpu.read()
        self.samples.append((time.perf_counter(), values))

    def _processors(self) -> dict[str, float]:
        now = _busy()
        elapsed_s, own_s, busy_s, all_s = (after - before for after, before in zip(now, self._before, strict=True))
        values: dict[str, float] = {}
        if elapsed_s > 0:
            values["process.cpu_percent"] = 100 * own_s / elapsed_s
        if elapsed_s >= LEAST_S and all_s > 0:
            values["cpu.utilization_percent"] = 100 * busy_s / all_s
            self._before = now
        with contextlib.suppress(Exception):  # what a virtual machine has of these depends on its host
            values["cpu.frequency_mhz"] = psutil.cpu_freq().current
        with contextlib.suppress(Exception):
            sensors = [each.current for group in psutil.sensors_temperatures().values() for each in group]
            values["cpu.temperature_celsius"] = max(sensors)
        return values


def _busy() -> tuple[float, float, float, float]:
    """Return the time, and the seconds that this process, all processes and all processors had so far."""
    times = psutil.cpu_times()
    total = sum(times)
    idle = times.idle + getattr(times, "iowait", 0.0)
    return time.perf_counter(), time.process_time(), total - idle, total


class _Gpu:
    """One GPU's counters by NVML."""

    def __init__(self, uuid: str) -> None:
        self._handle: Any = None
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlInit()
            self._handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)

    def read(self) -> dict[str, float]:
        if self._handle is None:
            return {}
        readings: dict[str, Callable[[], Any]] = {
            "gpu.utilization_percent": lambda: pynvml.nvmlDeviceGetUtilizationRates(self._handle).gpu,
            "gpu.memory_used_bytes": lambda: pynvml.nvmlDeviceGetMemoryInfo(self._handle).used,
            "gpu.power_watts": lambda: pynvml.nvmlDeviceGetPowerUsage(self._handle) / 1000,
            "gpu.temperature_celsius": lambda: pynvml.nvmlDeviceGetTemperature(
                self._handle, pynvml.NVML_TEMPERATURE_GPU
            ),
        }
        values: dict[str, float] = {}
        for name, read in readings.items():
            with contextlib.suppress(pynvml.NVMLError):  # some GPUs lack some sensors
                values[name] = float(read())
        return values

    def close(self) -> None:
        if self._handle is not None:
            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()
