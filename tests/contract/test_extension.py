"""A new operation is a few lines of contract and one method: shown in a copy of the repository.

The copy is extended, compiled and served; its modules come first on the path, and the test sees that they do.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.live import node_command, serving, start, stop

ROOT = Path(__file__).parents[2]
SOURCES = ("api", "server", "generated", "openapi.yaml", "pyproject.toml")
SERVE = (sys.executable, "-c", "from stepscope.cli import main; main()", "serve")

PATH_LINES = """  /uptime:
    $ref: api/paths/system.yaml#/uptime
"""
OPERATION = """uptime:
  get:
    operationId: getUptime
    tags: [system]
    summary: Say how long the server has run
    description: Counted from its start.
    responses:
      "200":
        description: The time.
        content:
          application/json:
            schema: {$ref: ../schemas/Uptime.yaml}
            examples:
              minute: {$ref: ../examples/getUptime.yaml#/answer}
      "400": {$ref: ../responses.yaml#/BadRequest}
      "401": {$ref: ../responses.yaml#/Unauthorized}
      "403": {$ref: ../responses.yaml#/Forbidden}
      "500": {$ref: ../responses.yaml#/InternalFailure}
"""
SCHEMA = """type: object
description: How long the server has run.
required: [seconds]
properties:
  seconds: {type: number, minimum: 0, description: Seconds since its start., example: 60.5}
"""
EXAMPLE = """answer:
  value:
    seconds: 60.5
"""
HANDLER = '''
    async def get_uptime(self, context: RequestContext) -> wire.Uptime:
        """Say how long the server has run."""
        return wire.Uptime(seconds=60.5)
'''


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy whose contract has one operation more, compiled; nothing handles it yet."""
    folder = tmp_path_factory.mktemp("copy")
    leave_out = shutil.ignore_patterns("__pycache__", ".*", "node_modules")
    for name in SOURCES:
        source = ROOT / name
        shutil.copytree(source, folder / name, ignore=leave_out) if source.is_dir() else shutil.copy(source, folder)
    for hidden in [*(ROOT / "api").glob(".*.yaml"), *(ROOT / "api" / "templates").glob("*/.openapi-generator-ignore")]:
        shutil.copy(hidden, folder / hidden.relative_to(ROOT))
    (folder / "node_modules").symlink_to(ROOT / "node_modules")
    extend(folder)
    run(folder, sys.executable, "api/generate.py")
    return folder


def extend(copy: Path) -> None:
    contract = copy / "openapi.yaml"
    before = "  /version:\n"
    assert contract.read_text().count(before) == 1
    contract.write_text(contract.read_text().replace(before, PATH_LINES + before))
    with (copy / "api" / "paths" / "system.yaml").open("a") as paths:
        paths.write(OPERATION)
    (copy / "api" / "schemas" / "Uptime.yaml").write_text(SCHEMA)
    (copy / "api" / "examples" / "getUptime.yaml").write_text(EXAMPLE)


def environment(copy: Path) -> dict[str, str]:
    places = ("server", "generated/server", "generated/python")
    return {"PYTHONPATH": os.pathsep.join(str(copy / place) for place in places), "PYTHONDONTWRITEBYTECODE": "1"}


def run(copy: Path, *command: str) -> str:
    """Run a command in the copy, with its modules first; return what it printed."""
    done = subprocess.run(
        command,
        cwd=copy,
        env=os.environ | environment(copy),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_without_its_handler_the_server_refuses_to_start(copy: Path, tmp_path: Path) -> None:
    process = start(tmp_path, [*SERVE, "--port", "0"], environment(copy))
    try:
        printed, _ = process.communicate(timeout=120)
    finally:
        stop(process)
    assert process.returncode != 0
    assert "listens" not in printed
    log = (tmp_path / "server.log").read_text()
    assert "System lacks 'async def get_uptime', which the tag 'system' asks for" in log


def test_with_its_handler_it_answers_in_every_client(copy: Path, tmp_path: Path) -> None:
    with (copy / "server" / "stepscope" / "dialects" / "system.py").open("a") as handlers:
        handlers.write(HANDLER)
    check_modules(copy)
    with serving(tmp_path, environment=environment(copy), command=SERVE) as live, live.client() as client:
        answer = client.get("/uptime")
        assert (answer.status_code, answer.json()) == (200, {"seconds": 60.5})
        assert "getUptime" in client.get("/openapi.yaml").text
        assert ask_in_python(copy, live.url) == 60.5
        assert ask_in_javascript(copy, live.url) == 60.5


def check_modules(copy: Path) -> None:
    names = ("stepscope", "stepscope.dialects.system", "stepscope_api.operations", "stepscope_generated")
    program = f"import {', '.join(names)}; print(*[m.__file__ for m in ({', '.join(names)})], sep='\\n')"
    for file in run(copy, sys.executable, "-c", program).split():
        assert Path(file).is_relative_to(copy)


def ask_in_python(copy: Path, url: str) -> float:
    program = f"""
from stepscope_generated import ApiClient, Configuration, SystemApi
with ApiClient(Configuration(host={url!r})) as client:
    print(SystemApi(client).get_uptime().seconds)
"""
    return float(run(copy, sys.executable, "-c", program))


def ask_in_javascript(copy: Path, url: str) -> float:
    program = f"""
import {{ Configuration, SystemApi }} from "./generated/javascript/dist/index.js";
const answer = await new SystemApi(new Configuration({{ basePath: "{url}" }})).getUptime();
console.log(answer.seconds);
"""
    return float(run(copy, node_command(), "--input-type=module", "-e", program))


def test_swift_and_postman_have_it_too(copy: Path) -> None:
    swift = copy / "generated" / "swift" / "Sources" / "Stepscope"
    assert "func getUptime(" in (swift / "APIs" / "SystemAPI.swift").read_text()
    assert "public struct Uptime" in (swift / "Models" / "Uptime.swift").read_text()
    collection = json.loads((copy / "generated" / "postman.json").read_text())
    system = next(folder for folder in collection["item"] if folder["name"] == "system")
    assert ["uptime"] in [item["request"]["url"]["path"] for item in system["item"]]
