"""What a measurement was taken on, so that its numbers can be judged."""

import os
import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil
from rich.console import Console

ROOT = Path(__file__).parent.parent
BUSY = 0.25
"""Load for each core at the start from which a machine isn't idle."""
PACKAGES = ("torch", "numpy", "pillow", "simplejpeg", "msgspec", "connexion", "uvicorn", "uvloop", "httptools")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine, the versions, and how busy it was at the start."""

    cpu: str
    cores: int
    memory_gb: float
    gpu: str
    python: str
    system: str
    commit: str
    load: tuple[float, ...]
    busy: float
    started: str
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def idle(self) -> bool:
        """Whether nothing else ran at the start."""
        return self.busy <= BUSY

    def as_dict(self) -> dict[str, object]:
        """Return it for JSON."""
        return {**asdict(self), "idle": self.idle}


def look() -> Machine:
    """Describe this machine; takes a second, in which its processors are watched."""
    import torch

    return Machine(
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        memory_gb=round(psutil.virtual_memory().total / 2**30, 1),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        python=platform.python_version(),
        system=platform.platform(),
        commit=_commit(),
        load=tuple(round(value, 2) for value in os.getloadavg()),
        busy=round(psutil.cpu_percent(1.0) / 100, 3),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={name: version(name) for name in PACKAGES},
    )


def show(machine: Machine, console: Console) -> None:
    """Print it, with a warning when the machine isn't idle."""
    console.print(f"{machine.cpu}, {machine.cores} cores, {machine.memory_gb} GiB, GPU: {machine.gpu}")
    console.print(f"{machine.system}, Python {machine.python}, commit {machine.commit}")
    console.print(", ".join(f"{name} {number}" for name, number in machine.versions.items()))
    console.print(f"load average {machine.load}, {machine.busy:.0%} of the processors in use at the start")
    if not machine.idle:
        console.print("[bold red]The machine isn't idle: ratios may hold, spread and latencies won't.[/]")


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _commit() -> str:
    git = shutil.which("git")
    if git is None:
        return "unknown"
    head = subprocess.run(
        [git, "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    dirty = subprocess.run([git, "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=False)
    return (head.stdout.strip() or "unknown") + (" with changes" if dirty.stdout.strip() else "")
