"""The command `stepscope`."""

import hashlib
import logging
import os
import secrets
import socket
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.logging import RichHandler

from stepscope import __version__, settings
from stepscope.core.errors import StepscopeError


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
@click.option("--insecure", is_flag=True, default=None, help="Listen beyond this machine without keys.")
@click.option("--log-level", default="info", show_default=True, type=click.Choice(["debug", "info", "warning"]))
@click.argument("more_folders", nargs=-1, type=click.Path(path_type=Path))
def serve(
    host: str | None,
    port: int | None,
    config: Path | None,
    folders: tuple[Path, ...],
    insecure: bool | None,
    log_level: str,
    more_folders: tuple[Path, ...],
) -> None:
    """Serve until a signal stops it. MORE_FOLDERS are model repositories, as if each had --models before it."""
    _log_to_terminal(log_level)
    options = {
        "server": {"host": host, "port": port, "insecure": insecure},
        "models": {"folders": [*folders, *more_folders] or None},
    }
    try:
        loaded = settings.load(config, options, os.environ)
        for folder in loaded.models.folders:
            if not folder.expanduser().is_dir():
                raise settings.SettingsInvalid(f"The model repository {folder} isn't a folder.")
        _serve(loaded)
    except StepscopeError as fault:
        raise click.ClickException(str(fault)) from fault


def _serve(loaded: settings.Settings) -> None:
    from stepscope import app
    from stepscope.web import serve as web

    sock = _bind(loaded.server.host, loaded.server.port)
    address, port = sock.getsockname()[:2]
    loaded = settings.bound(loaded, port)
    built = app.build(loaded)
    shown = f"[{address}]" if ":" in address else address
    click.echo(f"Stepscope {__version__} listens on http://{shown}:{port} (Swagger UI: http://{shown}:{port}/ui)")
    sys.stdout.flush()
    web.run(built.asgi, built.root, sock=sock, drain=built.engine.drain, shutdown_s=loaded.server.shutdown_s)


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError as fault:
        raise settings.SettingsInvalid(f"{host}:{port} can't be listened on: {fault.strerror or fault}.") from fault
    sock.set_inheritable(True)
    return sock


@main.command()
@click.argument("name")
def key(name: str) -> None:
    """Make a key for the caller NAME, and print it once with the line for stepscope.toml."""
    secret = secrets.token_urlsafe(32)
    digest = hashlib.sha256(secret.encode()).hexdigest()
    click.echo(f"The key, to be kept by {name}:\n  {secret}\n\nIn stepscope.toml:\n  [auth.keys]\n  {name} = \"{digest}\"")


def _log_to_terminal(level: str) -> None:
    handler = RichHandler(console=Console(stderr=True), show_path=False, rich_tracebacks=False, markup=False)
    logging.basicConfig(level=level.upper(), format="%(name)s: %(message)s", datefmt="%H:%M:%S", handlers=[handler])
    logging.getLogger("connexion").setLevel(logging.WARNING)
