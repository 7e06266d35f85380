"""Run all tests. What a machine lacks for some of them is installed when it can be, and named when it can't."""

import os
import shutil
import subprocess
import sys


def main() -> int:
    """Return pytest's exit code."""
    arguments = sys.argv[1:]
    if not _chromium():
        print("Chromium isn't here and can't be installed: the browser tests are LEFT OUT of this run.", flush=True)
        arguments += ["--deselect", "tests/browser"]
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], check=False).returncode


def _chromium() -> bool:
    if shutil.which("chromium"):
        return True
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    print("Installing Chromium for the browser tests (once) ...", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in ("update -qq", "install -y -qq --no-install-recommends chromium"):
        subprocess.run(["apt-get", *command.split()], check=False, stdout=subprocess.DEVNULL, env=environment)
    return shutil.which("chromium") is not None


if __name__ == "__main__":
    sys.exit(main())
