"""Which `torch.export` archives are loaded: those that hold graphs and plain tensors, and no code.

`torch.export.load` unpickles some members without restriction and runs compiled ones, so those are refused first.
Member names as of torch 2.13 (`torch/export/pt2_archive/constants.py`).
"""

import io
import json
import re
import zipfile
from pathlib import Path

import torch

from stepscope.runtimes.torch.faults import LoadFault

_LARGEST_CHECKED_BYTES = 64 * 2**20
_HARMLESS = re.compile(
    r"archive_format|archive_version|byteorder|version|\.data/\w+|extra/.*|models/[^/]+\.json"
    r"|data/weights/weight_\d+|data/constants/tensor_\d+|data/(weights|constants)/[^/]+_config\.json"
    r"|data/sample_inputs/[^/]+\.pt"
)


def refuse_code(path: Path) -> None:
    """Raise `LoadFault` when the archive holds pickled or compiled code, or isn't one that we know."""
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                _check(archive, member)
    except zipfile.BadZipFile as fault:
        raise LoadFault("its graph file isn't a torch.export archive") from fault


def _check(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    name = member.filename.partition("/")[2]
    if not _HARMLESS.fullmatch(name):
        raise LoadFault("its graph file holds parts that could run code, which aren't loaded here")
    if not name.endswith(("_config.json", ".pt")):
        return
    if member.file_size > _LARGEST_CHECKED_BYTES:
        raise LoadFault("its graph file holds descriptions that are too large")
    content = archive.read(member)
    if name.endswith(".pt"):
        _check_sample_inputs(content)
    else:
        _check_tensors(content)


def _check_tensors(content: bytes) -> None:
    entries = json.loads(content).get("config", {}).values()
    if any(entry.get("use_pickle") for entry in entries):
        raise LoadFault("its graph file holds pickled tensors, which aren't loaded here")


def _check_sample_inputs(content: bytes) -> None:
    """Load the sample inputs as torch does first; where that fails, torch would unpickle them freely."""
    try:
        if content:
            torch.load(io.BytesIO(content), weights_only=True)
    except Exception as fault:
        raise LoadFault("its graph file holds pickled sample inputs, which aren't loaded here") from fault
