"""The command `stepscope`."""

import asyncio
import hashlib
import json
import logging
import os
import secrets
import signal
import socket
import ssl
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table

from stepscope import __version__, settings
from stepscope.core.errors import SettingsInvalid, StepscopeError
from stepscope.core.predictions import ModelRef, TraceLevel
from stepscope.core.tuning import Candidate, Execution
from stepscope.processes import Member, Supervisor, membership

if TYPE_CHECKING:
    from stepscope.worker.worker import Worker


@click.group()
@click.version_option(__version__)
def main() -> None:
    """Serve PyTorch models behind one OpenAPI contract."""


@main.command()
@click.option("--host", help="The address to listen on; 127.0.0.1 unless configured.")
@click.option("--port", type=click.IntRange(0, 65535), help="The port; 8080 unless configured, 0 for a free one.")
@click.option("--config", type=click.Path(path_type=Path), help="The configuration; stepscope.toml if it is there.")
@click.option(
    "--models", "folders", multiple=True, type=click.Path(path_type=Path), help="A model repository; may be repeated."
)
@click.option("--endpoints", multiple=True, help="A folder or file of AIME endpoint configurations; may be repeated.")
@click.option("--processes", type=click.IntRange(1, 256), help="Server processes on the one port; 1 unless configured.")
@click.option("--certificate", type=click.Path(path_type=Path), help="Speak TLS with the certificate in this file.")
@click.option("--private-key", type=click.Path(path_type=Path), help="The file with the certificate's key.")
@click.option("--insecure", is_flag=True, default=None, help="Listen beyond this machine without keys.")
@click.option("--log-level", default="info", show_default=True, type=click.Choice(["debug", "info", "warning"]))
@click.argument("more_folders", nargs=-1, type=click.Path(path_type=Path))
def serve(
    host: str | None,
    port: int | None,
    config: Path | None,
    folders: tuple[Path, ...],
    endpoints: tuple[str, ...],
    processes: int | None,
    certificate: Path | None,
    private_key: Path | None,
    insecure: bool | None,
    log_level: str,
    more_folders: tuple[Path, ...],
) -> None:
    """Serve until a signal stops it. MORE_FOLDERS are model repositories, as if each had --models before it."""
    if (member := membership(os.environ)) is not None:
        _log_to_stderr(log_level, several=True)
        sys.exit(_serve_as(member))
    options: dict[str, dict[str, object]] = {
        "server": {"host": host, "port": port, "processes": processes, "insecure": insecure},
        "tls": {"certificate": certificate, "private_key": private_key},
        "models": {"folders": [*folders, *more_folders] or None},
        "aime": {"endpoints": list(endpoints) or None},
    }
    try:
        loaded = settings.load(config, options, os.environ)
        _log_to_stderr(log_level, several=loaded.server.processes > 1)
        for folder in loaded.models.folders:
            if not folder.expanduser().is_dir():
                raise SettingsInvalid(f"The model repository {folder} isn't a folder.")
        sys.exit(_serve(loaded))
    except StepscopeError as fault:
        raise click.ClickException(str(fault)) from fault


def _serve(loaded: settings.Settings) -> int:
    """Serve until a signal comes, and return the exit code."""
    from stepscope.app.listening import at_configured_address, tls_context
    from stepscope.app.records import prepare
    from stepscope.web import serve as web

    loaded = at_configured_address(loaded)
    tls = tls_context(loaded)
    sock = web.listen(loaded.server.host, loaded.server.port)
    address, port = sock.getsockname()[:2]
    loaded = settings.bound(loaded, port)
    sockets = [sock, *web.listen_where_free(loaded.server.host, loaded.traces.jaeger_port)]
    prepare(loaded)
    shown = f"[{address}]" if ":" in address else address
    url = f"{'https' if tls else 'http'}://{shown}:{port}"
    ready = f"Stepscope {__version__} listens on {url} (Swagger UI: {url}/ui)"
    if loaded.server.processes > 1:
        return _serve_several(loaded, sockets, ready)

    from stepscope.app.server import build  # the parent of several processes does without it

    built = build(loaded)
    _tell(ready)
    limit_s = loaded.server.shutdown_s
    server = web.make_server(built.asgi, built.root, drain=built.drain, shutdown_s=limit_s, tls=tls)
    server.run(sockets)
    return 0 if server.started else 1


def _serve_several(loaded: settings.Settings, sockets: list[socket.socket], ready: str) -> int:
    with tempfile.TemporaryDirectory(prefix="stepscope-") as folder:
        message = json.dumps({"folder": folder, "settings": loaded.model_dump(mode="json")}).encode()
        count, limit_s = loaded.server.processes, loaded.server.shutdown_s
        return Supervisor(count, sockets, message, shutdown_s=limit_s, ready=lambda: _tell(ready)).run()


def _serve_as(member: Member) -> int:
    """Serve as one of several, with the settings that the parent has read."""
    from stepscope.app.listening import tls_context
    from stepscope.app.server import build
    from stepscope.web import serve as web
    from stepscope.web.tallies import Tallies

    told = json.loads(member.message)
    loaded = settings.Settings.model_validate(told["settings"])
    built = build(loaded, tallies=Tallies(Path(told["folder"]), member.index))
    server = web.make_server(
        built.asgi,
        built.root,
        drain=built.drain,
        shutdown_s=loaded.server.shutdown_s,
        tls=tls_context(loaded),
        member=member,
    )
    server.run(list(member.sockets))
    return 0 if server.started else 1


def _tell(line: str) -> None:
    click.echo(line)
    sys.stdout.flush()


@main.command()
@click.option("--server", required=True, help="The server's address, such as http://127.0.0.1:7777.")
@click.option("--job-type", required=True, help="The kind of jobs to take.")
@click.option("--model", required=True, help="The model that runs them.")
@click.option("--model-version", default="*", show_default=True, help="A constraint on its version.")
@click.option("--auth-key", envvar="AIME_AUTH_KEY", default="", help="The key of this kind of jobs; $AIME_AUTH_KEY.")
@click.option("--batch", default=1, show_default=True, type=click.IntRange(1, 4096), help="Jobs that run at once.")
@click.option("--input", "input_name", default="", help="The parameter that the model gets; the first image otherwise.")
@click.option("--output", "output_name", default="", help="The output that the features become; `features` otherwise.")
@click.option("--feature-limit", default=10, show_default=True, type=click.IntRange(0), help="Features told; 0 is all.")
@click.option("--ca", type=click.Path(exists=True, dir_okay=False), help="The CA of an https server's certificate.")
@click.option("--config", type=click.Path(path_type=Path), help="The configuration; stepscope.toml if it is there.")
@click.option("--models", "folders", multiple=True, type=click.Path(path_type=Path), help="A model repository.")
@click.option("--log-level", default="info", show_default=True, type=click.Choice(["debug", "info", "warning"]))
def worker(
    server: str,
    job_type: str,
    model: str,
    model_version: str,
    auth_key: str,
    batch: int,
    input_name: str,
    output_name: str,
    feature_limit: int,
    ca: str | None,
    config: Path | None,
    folders: tuple[Path, ...],
    log_level: str,
) -> None:
    """Run a server's jobs with a model here, until a signal stops it: then its jobs are finished first."""
    from stepscope.app.worker import WorkerOptions, build_worker
    from stepscope.worker.calls import Identity
    from stepscope.worker.predictions import Asked

    if not server.startswith(("http://", "https://")):
        raise click.ClickException(f"{server!r} is no address of a server; one looks like http://127.0.0.1:7777.")
    _log_to_stderr(log_level, several=False)
    ref = ModelRef(name=model, version=model_version)
    name = f"{socket.gethostname()}#{os.getpid()}_1x{model}"
    try:
        loaded = settings.load(config, {"models": {"folders": list(folders) or None}}, os.environ)
        work = WorkerOptions(
            server=server,
            asked=Asked(model=ref, input=input_name, output=output_name, feature_limit=feature_limit),
            batch=batch,
            tls=ssl.create_default_context(cafile=ca) if ca else None,
        )
        asyncio.run(_work(build_worker(loaded, Identity(auth=name, job_type=job_type, auth_key=auth_key), work)))
    except StepscopeError as fault:
        raise click.ClickException(str(fault)) from fault
    except ssl.SSLError as fault:
        raise click.ClickException(f"{ca} holds no certificates.") from fault


async def _work(working: "Worker") -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, working.stop)
    await working.run()


@main.command()
@click.argument("name")
def key(name: str) -> None:
    """Make a key for the caller NAME, and print it once with the line for stepscope.toml."""
    secret = secrets.token_urlsafe(32)
    digest = hashlib.sha256(secret.encode()).hexdigest()
    click.echo(f"The key, to be kept by {name}:\n  {secret}\n")
    click.echo(f'In stepscope.toml:\n  [auth.keys]\n  {json.dumps(name)} = "{digest}"')


@main.command()
@click.option("--config", type=click.Path(path_type=Path), help="The configuration; stepscope.toml if it is there.")
@click.option("--level", default="FULL", show_default=True, help="How deep to look, from APPLICATION to FULL.")
@click.argument("trace_id")
def trace(config: Path | None, level: str, trace_id: str) -> None:
    """Draw the trace TRACE_ID of this machine's server, which needn't run."""
    from stepscope import waterfall
    from stepscope.app.traces import find_trace

    try:
        deepest = TraceLevel[level.upper().removesuffix("_TRACE") + "_TRACE"]
    except KeyError:
        raise click.BadParameter(
            f"known are {', '.join(each.name for each in TraceLevel)}", param_hint="--level"
        ) from None
    try:
        waterfall.draw(find_trace(settings.load(config, {}, os.environ), trace_id), Console(), deepest)
    except StepscopeError as fault:
        raise click.ClickException(str(fault)) from fault


@main.group()
def models() -> None:
    """Look after models."""


@models.command()
@click.option("--config", type=click.Path(path_type=Path), help="The configuration; stepscope.toml if it is there.")
@click.option("--models", "folders", multiple=True, type=click.Path(path_type=Path), help="A model repository.")
@click.option("--force", is_flag=True, help="Measure again, whatever is remembered.")
@click.argument("name")
def tune(config: Path | None, folders: tuple[Path, ...], force: bool, name: str) -> None:
    """Try the ways in which the model NAME can run here, and print what was measured."""
    from stepscope.app import runtime

    try:
        loaded = settings.load(config, {"models": {"folders": list(folders) or None}}, os.environ)
        manifest, execution = runtime.tune(loaded, name, force=force)
    except StepscopeError as fault:
        raise click.ClickException(str(fault)) from fault
    _print_execution(str(manifest), execution)


def _print_execution(title: str, execution: Execution) -> None:
    console = Console()
    if execution.candidates:
        console.print(_table(title, execution.candidates))
    for choice in execution.choices:
        batches = f"batches of up to {choice.up_to}" if choice.up_to else "every other batch"
        threads = f"{choice.threads or 'all'} thread{'' if choice.threads == 1 else 's'}"
        console.print(f"{'every batch' if len(execution.choices) == 1 else batches}: {choice.way}, {threads}")
    console.print(f"{execution.origin}; {execution.note}" if execution.note else execution.origin)


def _table(title: str, candidates: Sequence[Candidate]) -> Table:
    sizes = [timing.batch_size for timing in candidates[0].timings]
    table = Table("way", title=title)
    for size in sizes:
        table.add_column(f"ms ({size})", justify="right")
        table.add_column("times", justify="right")
    table.add_column("differs")
    table.add_column("verdict", overflow="fold")
    for candidate in candidates:
        times = [cell for each in candidate.timings for cell in (f"{each.latency_ms:.3g}", f"{each.speedup:.2f}")]
        error = "" if candidate.error is None else f"{candidate.error:.1g}"
        verdict = ": ".join(filter(None, [candidate.verdict.value, candidate.reason]))
        table.add_row(candidate.way, *(times or [""] * 2 * len(sizes)), error, verdict)
    return table


def _log_to_stderr(level: str, *, several: bool) -> None:
    """Log in colour to a terminal; into a file or a pipe, where rich would cut lines at 80 columns, a line a record.

    Where several processes log, each record has its process's number.
    """
    name = "%(name)s[%(process)d]" if several else "%(name)s"
    if sys.stderr.isatty():
        console = RichHandler(console=Console(stderr=True), show_path=False, rich_tracebacks=False, markup=False)
        logging.basicConfig(level=level.upper(), format=f"{name}: %(message)s", datefmt="%X", handlers=[console])
    else:
        logging.basicConfig(level=level.upper(), format=f"%(asctime)s %(levelname)s {name}: %(message)s")
    for talkative in ("connexion", "alembic"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    for foreign in ("uvicorn", "asyncio", "aiosqlite"):
        logging.getLogger(foreign).setLevel(max(logging.INFO, logging.getLogger().level))
