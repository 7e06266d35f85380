"""The Postman collection: newman runs all of it against a live server, and it holds the whole contract."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.system.live import Live, node_command

ROOT = Path(__file__).parents[2]
COLLECTION = ROOT / "generated" / "postman.json"
NEWMAN = ROOT / "node_modules" / "newman" / "bin" / "newman.js"
CONTRACT = ROOT / "generated" / "openapi.yaml"
Json = dict[str, Any]
Route = tuple[str, str]


def test_newman_runs_the_collection_green(server: Live, tmp_path: Path) -> None:
    report = run_newman(server, tmp_path / "report.json")
    failures = [failure["error"]["message"] for failure in report["failures"]]
    assert failures == []
    assert {answer["response"]["code"] for answer in report["executions"]} <= {200, 202}
    ran = operations() - operations("aime")  # which needs endpoints and workers; `tests/web/test_aime.py` has both
    assert len(report["executions"]) == len(ran)
    assert report["stats"]["assertions"]["total"] >= len(ran)


def test_the_collection_holds_every_operation() -> None:
    collection = json.loads(COLLECTION.read_text())
    assert sorted(routes(collection)) == sorted(operations())


def run_newman(server: Live, report: Path) -> Json:
    options = ["--env-var", f"baseUrl={server.url}", "--reporters", "cli,json", "--reporter-json-export", str(report)]
    folders = [folder["name"] for folder in json.loads(COLLECTION.read_text())["item"] if folder["name"] != "aime"]
    named = [part for folder in folders for part in ("--folder", folder)]
    command = [node_command(), str(NEWMAN), "run", str(COLLECTION), *named, *options]
    done = subprocess.run(command, cwd=report.parent, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    run: Json = json.loads(report.read_text())["run"]
    return run


def operations(tag: str = "") -> set[Route]:
    """Every method and path of the contract, or of a tag."""
    paths = yaml.safe_load(CONTRACT.read_text())["paths"]
    return {
        (method.upper(), path)
        for path, item in paths.items()
        for method, operation in item.items()
        if method != "parameters" and tag in ("", *operation["tags"])
    }


def routes(folder: Json) -> Iterator[Route]:
    """Every method and path of a collection's folder, and of those in it."""
    for item in folder["item"]:
        if "item" in item:
            yield from routes(item)
        else:
            parts = [re.sub(r"^:(.+)$", r"{\1}", part) for part in item["request"]["url"]["path"]]
            path = "/" + "/".join(parts)
            # Two parameters in one part are variables of the collection.
            yield item["request"]["method"], re.sub(r"\{\{(\w+)\}\}", r"{\1}", path)
