"""Where results go: JSON with the machine beside, and plots made of it."""

import json
import subprocess
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.environments import NotInstalled, ensure, python_of
from benchmarks.machine import Machine

FOLDER = Path(__file__).parent / "results"
DRAWING = Path(__file__).parent / "plots"


def write(name: str, machine: Machine, found: dict[str, Any]) -> Path:
    """Write a measurement's results."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps({"machine": machine.as_dict(), **found}, indent=1) + "\n")
    return path


def draw(path: Path, console: Console) -> None:
    """Draw results as PNG beside them, in an environment of its own: nothing else needs matplotlib."""
    try:
        folder = ensure("plots", DRAWING / "requirements.txt", torch=False)
    except NotInstalled as fault:
        console.print(f"[red]No plots: {fault}[/]")
        return
    argv = [str(python_of(folder)), str(DRAWING / "draw.py"), str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        console.print(f"[red]No plots: {done.stderr[-500:]}[/]")
    for line in done.stdout.splitlines():
        console.print(f"drawn: {line}")
