"""Where the contract lies."""

from pathlib import Path

import stepscope_api


def contract_path() -> Path:
    """Return where the bundled contract lies: beside the generated package, or in a checkout's `generated`."""
    package = Path(stepscope_api.__file__).parent
    installed = package / "openapi.yaml"
    return installed if installed.exists() else package.parents[1] / "openapi.yaml"
