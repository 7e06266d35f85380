"""The driver of `make generate`: what it calls drift, and how it fails.

Whether `generated/` itself is up to date is for `python api/generate.py --check`, in `make check`.
"""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "api"))

import generate  # noqa: E402


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_drift_names_every_kind(tmp_path: Path) -> None:
    built = write(tmp_path / "built", {"same": "1", "changed": "1", "sub/new": "1"})
    out = write(tmp_path / "out", {"same": "1", "changed": "2", "old": "1", "__pycache__/x.pyc": ""})
    assert sorted(generate.drift(built, out)) == ["differs: changed", "missing: sub/new", "stale: old"]


def test_stale_files_vanish(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    built = write(tmp_path / "scratch" / "generated", {"new": "1"})
    out = write(tmp_path / "out", {"old": "1"})
    generate.replace(out, built)
    assert [path.name for path in out.iterdir()] == ["new"]


def test_a_bad_contract_leaves_the_output_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not (ROOT / "node_modules").exists():
        pytest.skip("needs the tools of `npm ci`")
    contract = write(tmp_path, {"openapi.yaml": "openapi: 3.0.3\npaths: {}\n"}) / "openapi.yaml"
    out = write(tmp_path / "out", {"kept": "1"})
    assert generate.main(["--contract", str(contract), "--out", str(out)]) == 1
    assert capsys.readouterr().err.startswith("generate: redocly lint failed (exit code 1)\n")
    assert [path.name for path in out.iterdir()] == ["kept"]
