"""Run all tests. What a machine lacks for some of them is installed when it can be, and named when it can't."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path


def main() -> int:
    """Return pytest's exit code."""
    # Two at a time: much of the time is waiting for servers and browsers. More would starve those on a small machine.
    arguments = ["-n", "2", "--dist", "loadfile", *sys.argv[1:]]
    if not _installed("chromium", _chromium):
        print("Chromium isn't here and can't be installed: the browser tests are LEFT OUT of this run.", flush=True)
        arguments += ["--deselect", "tests/browser"]
    if not _installed("postgresql", _postgresql):
        print("PostgreSQL isn't here and can't be installed: its tests are SKIPPED in this run.", flush=True)
    if not _installed("ffmpeg", _ffmpeg):
        print("ffmpeg isn't here and can't be installed: tests of sound and video are SKIPPED in this run.", flush=True)
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], check=False).returncode


def _chromium() -> bool:
    return shutil.which("chromium") is not None


def _ffmpeg() -> bool:
    return shutil.which("ffmpeg") is not None and shutil.which("ffprobe") is not None


def _postgresql() -> bool:
    # Debian keeps each version's programs in a folder of its own, out of the path.
    return shutil.which("initdb") is not None or any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


def _installed(package: str, is_here: Callable[[], bool]) -> bool:
    """Install a Debian package unless what it brings is here; say whether it is here then."""
    if is_here():
        return True
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    print(f"Installing {package} for the tests (once) ...", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in ("update -qq", "install -y -qq --no-install-recommends " + package):
        subprocess.run(["apt-get", *command.split()], check=False, stdout=subprocess.DEVNULL, env=environment)
    return is_here()


if __name__ == "__main__":
    sys.exit(main())
