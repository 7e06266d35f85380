"""A server within another program: on a thread of its own, from its first task until it is stopped."""

import concurrent.futures.thread  # noqa: F401 - it has to register for the program's end before `Deployment` does
import logging
import os
import signal
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from stepscope import settings
from stepscope.app.listening import tls_context
from stepscope.app.server import App, build
from stepscope.core.errors import ModelUnavailable, ServableInvalid, SettingsInvalid
from stepscope.core.predictions import DeviceRef
from stepscope.engine import configurations
from stepscope.engine.servables import Version
from stepscope.mindspore.start_arguments import Address, ServableStartConfig, SSLConfig, native
from stepscope.web import serve
from stepscope.web.tls import ServerContext

log = logging.getLogger("stepscope.mindspore")

OPTIONS: dict[str, dict[str, Any]] = {
    "server": {"host": "127.0.0.1"},
    "models": {"folders": [], "builtin": False},
    "traces": {"jaeger_port": 0},
}
"""What the script says itself, or leaves out; other keys count as they are configured."""
POLL_S = 0.01
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server on its thread."""

    settings: settings.Settings
    app: App
    server: serve.Server
    thread: threading.Thread


class Deployment:
    """Starts a server with the first servable or listener, and stops it."""

    def __init__(self, build: Callable[[settings.Settings], App] = build) -> None:
        self._build = build
        self._running: Running | None = None
        self._directories: dict[str, Path] = {}
        self._listens = False
        self._stops = False
        self._leaves = False
        self._waits_at_exit = False

    def deploy(self, configs: Sequence[ServableStartConfig]) -> None:
        """Load versions of servables, and serve them once all are loaded. Raises `RuntimeError`."""
        directories = self._agreed(configs)
        running = self._run()
        versions = self._read(running.app, configs)
        running.server.call(_load(running.app, versions, directories))
        self._directories = directories

    def listen(self, address: Address, *, max_body_bytes: int, tls: SSLConfig | None) -> None:
        """Listen; with the configuration's TLS where the script says nothing of it. Raises `RuntimeError`."""
        running = self._run()
        if self._listens:
            raise native("RESTful server is already running")
        try:
            context = tls_context(running.settings) if tls is None else _context(tls)
        except SettingsInvalid as fault:
            raise native(str(fault)) from fault
        try:
            sock = serve.listen(address.host, address.port)
        except SettingsInvalid as fault:
            text = f"RESTful server start failed, bind to the socket address {address.text} failed"
            raise native(f"{text}: {fault}") from fault
        running.app.mindspore.max_body_bytes = max_body_bytes
        if not settings.is_loopback(address.host):
            running.app.gate.admit_any_name()
            if not running.settings.auth.keys and (context is None or context.verify_mode is ssl.CERT_NONE):
                log.warning("%s can be reached from other machines, and no keys are configured", address.text)
        running.server.call(running.server.listen(sock, context))
        self._listens = True
        log.info("the RESTful server listens on %s", address.text)

    def stop(self) -> None:
        """Stop what runs, if anything does, and wait for it."""
        running = self._running
        if running is None:
            return
        if not self._stops:
            self._stops = True
            running.server.handle_exit(signal.SIGTERM, None)
        running.thread.join()
        self._forget()

    def _run(self) -> Running:
        if self._running is not None and not self._running.thread.is_alive():
            self._forget()
        if self._running is None:
            self._running = _started(self._build)
            self._take_signals()
            self._wait_at_exit()
        return self._running

    def _forget(self) -> None:
        self._running, self._directories = None, {}
        self._listens = self._stops = False

    def _agreed(self, configs: Sequence[ServableStartConfig]) -> dict[str, Path]:
        """Return each servable's directory, which all of its versions share."""
        directories = dict(self._directories)
        for config in configs:
            name, directory = config.servable_name, config.directory
            if directories.setdefault(name, directory) != directory:
                raise RuntimeError(
                    f"The servable directories of servable {name} are different: {directories[name]} and {directory}"
                )
        return directories

    def _read(self, built: App, configs: Sequence[ServableStartConfig]) -> list[Version]:
        """Import the configurations; what is said twice of a version counts together."""
        versions: dict[tuple[str, int], Version] = {}
        for config in configs:
            place = configurations.Place(
                directory=config.directory,
                name=config.servable_name,
                framework=built.engine.runtime.framework_name,
            )
            try:
                found = configurations.load(place, config.version_number, threads=config.threads)
            except ServableInvalid as fault:
                raise RuntimeError(str(fault)) from fault
            devices = _devices(config, built.engine.runtime.devices())
            for version in found:
                before = versions.get((place.name, version.number))
                more = before.devices if before else ()
                versions[place.name, version.number] = replace(
                    version,
                    devices=tuple(dict.fromkeys((*more, *devices))),
                    threads=max(version.threads, before.threads if before else 1),
                )
        return list(versions.values())

    def _take_signals(self) -> None:
        """Let signals stop the server where the program has no mind of its own on them."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._running is not None:
            self._stops = True
            self._running.server.handle_exit(number, frame)
        if not self._leaves:  # the program's own code ends, too
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    def _wait_at_exit(self) -> None:
        """Wait for the server when the program's own code is over.

        That has to be before Python forbids its thread pools to take anything new, which is before it waits for
        threads, and only this function of `threading` comes before that. The last to register has the first turn.
        """
        if not self._waits_at_exit:
            self._waits_at_exit = True
            threading._register_atexit(self._leave)  # type: ignore[attr-defined]

    def _leave(self) -> None:
        self._leaves = True
        if self._running is None:
            return
        if self._listens:
            self._running.thread.join()
        else:  # nobody can reach what runs
            self.stop()


def _started(build: Callable[[settings.Settings], App]) -> Running:
    try:
        loaded = settings.load(None, OPTIONS, os.environ)
    except SettingsInvalid as fault:
        raise RuntimeError(str(fault)) from fault
    built = build(loaded)
    server = serve.make_server(built.asgi, built.root, drain=built.drain, shutdown_s=loaded.server.shutdown_s)
    # A daemon, since `Deployment` waits for it where that is wanted.
    thread = threading.Thread(target=server.run, args=([],), name="stepscope", daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("The server ended while it started; its log says why")
        time.sleep(POLL_S)
    return Running(settings=loaded, app=built, server=server, thread=thread)


async def _load(built: App, versions: Sequence[Version], directories: dict[str, Path]) -> None:
    for version in versions:
        name = version.servable.name
        try:
            await built.servables.load(version)
        except ModelUnavailable as fault:
            raise RuntimeError(
                f"Load model failed, servable directory: {directories[name]}, servable name: {name}, "
                f"version number: {version.number}: {fault}"
            ) from fault
    for version in versions:
        built.servables.put(version)


def _context(tls: SSLConfig) -> ServerContext:
    client_ca = Path(tls.custom_ca) if tls.verify_client and tls.custom_ca else None
    return ServerContext.load(Path(tls.certificate), Path(tls.private_key), client_ca)


def _devices(config: ServableStartConfig, present: Sequence[DeviceRef]) -> tuple[DeviceRef, ...]:
    """Return the devices that a servable's models run on; none for the server's choice."""
    cuda = [device for device in present if device.kind == "cuda"]
    if config.device_type == "CPU":
        return (DeviceRef(),)
    if config.device_type == "GPU" and not cuda:
        raise RuntimeError(f"There is no GPU here for servable {config.servable_name}")
    chosen = tuple([DeviceRef(kind="cuda", index=index) for index in config.device_ids]) if cuda else ()
    for device in chosen:
        if device not in cuda:
            raise RuntimeError(f"There is no GPU {device.index} here for servable {config.servable_name}")
    return chosen
