"""The peers' own environments, made once under `.envs/` from their pinned requirements."""

import hashlib
import subprocess
import sys
from pathlib import Path

from rich.console import Console

HERE = Path(__file__).parent
ENVS = HERE / ".envs"
TORCH = "torch==2.13.0"
"""The server's own; installed first, or another package would pull another build."""


class NotInstalled(Exception):
    """An environment that can't be made, and why."""


def ensure(name: str, requirements: Path, *, torch: bool = True) -> Path:
    """Return the environment's folder, made if it isn't there. Raises `NotInstalled`."""
    folder = ENVS / name
    stamp = folder / ".requirements.sha256"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return folder
    Console().print(f"Making benchmarks/.envs/{name} (once, some minutes) ...")
    ENVS.mkdir(exist_ok=True)
    with (ENVS / f"{name}.log").open("w") as log:
        if not python_of(folder).exists():
            _run([sys.executable, "-m", "venv", str(folder)], log.fileno())
        pip = [str(python_of(folder)), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        if torch:
            _run([*pip, TORCH], log.fileno())
        _run([*pip, "-r", str(requirements)], log.fileno())
    stamp.write_text(digest)
    return folder


def python_of(folder: Path) -> Path:
    """Return an environment's interpreter."""
    return folder / "bin" / "python"


def versions(folder: Path, packages: list[str]) -> dict[str, str]:
    """Return the installed versions of some packages."""
    code = "import sys,importlib.metadata as m; print('\\n'.join(m.version(name) for name in sys.argv[1:]))"
    done = subprocess.run([str(python_of(folder)), "-c", code, *packages], capture_output=True, text=True, check=True)
    return dict(zip(packages, done.stdout.split(), strict=True))


def _run(argv: list[str], log: int) -> None:
    done = subprocess.run(argv, stdout=log, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise NotInstalled(f"{' '.join(argv[1:6])} failed; see benchmarks/.envs/*.log")
