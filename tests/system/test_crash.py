"""Servers and workers are killed at random moments, and nothing that was acknowledged is lost or done twice in sight.

A run has a seed, and prints it. A short run is part of `make test`; the long one, with 200 kills, 8 workers and 32
clients, on SQLite with one server and on PostgreSQL with two:

    CRASH_KILLS=200 .venv/bin/python -m pytest -n0 tests/system/test_crash.py -s
"""

import asyncio
import os
import random
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.system.crash.clients import END_S, KEY, AimeClient, Asker, NativeClient, Promised, run
from tests.system.crash.worker import KEY as WORKERS_KEY
from tests.system.crash.worker import KIND
from tests.system.live import COMMAND, free_ports, inherited

KILLS = int(os.environ.get("CRASH_KILLS", "0"))
SEED = int(os.environ.get("CRASH_SEED", "0")) or random.SystemRandom().randrange(10**9)
SHORT = 5
WORKERS, CLIENTS = (8, 32) if KILLS else (4, 16)
NATIVE = 4
"""Every so manieth client asks for a prediction of the server's own."""
START_S = 120.0
ROOT = Path(__file__).parents[2]
ENDPOINT = f"""
[ENDPOINT]
name = "{KIND}"
job_inactivity_timeout = 5
[CLIENTS]
authorization_keys = {{ "all" = "{KEY}" }}
[WORKER]
job_type = "{KIND}"
auth_key = "{WORKERS_KEY}"
[INPUTS]
text = {{ type = "string", required = true }}
[OUTPUTS]
text = {{ type = "string" }}
"""
SETTINGS = """
[store]
url = "{url}"
files = "{folder}/files"
[models]
cache = "{folder}/cache{port}"
[tuning]
enabled = false
[traces]
jaeger_port = 0
[jobs]
lease_s = 5
attempts = 100  # many more servers are killed here than jobs are to blame for
[aime]
endpoints = ["{folder}/endpoints"]
"""


@dataclass(slots=True)
class Scene:
    """What runs: servers on their ports, and workers."""

    folder: Path
    url: str
    ports: Sequence[int]
    drawn: random.Random
    servers: dict[int, Process] = field(default_factory=dict)
    workers: dict[str, Process] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        return self.folder / "log"

    async def begin(self) -> None:
        (self.folder / "endpoints").mkdir()
        (self.folder / "endpoints" / "aime_api_endpoint.cfg").write_text(ENDPOINT)
        for port in self.ports:
            settings = SETTINGS.format(url=self.url, folder=self.folder, port=port)
            (self.folder / f"{port}.toml").write_text(settings)
        await asyncio.gather(*(self.start_server(port) for port in self.ports))
        for number in range(WORKERS):
            await self.start_worker(f"w{number}")

    async def start_server(self, port: int) -> None:
        """Start a server and wait until it listens; what it does from then on may be cut short."""
        config = self.folder / f"{port}.toml"
        self.servers[port] = server = await self._run(*COMMAND, "--port", str(port), "--config", str(config))
        assert server.stdout is not None
        line = await asyncio.wait_for(server.stdout.readline(), START_S)
        assert b"listens on" in line, self.log.read_text()

    async def start_worker(self, name: str) -> None:
        module = ("-m", "tests.system.crash.worker")
        self.workers[name] = await self._run(sys.executable, *module, name, *map(str, self.ports))

    async def kill(self, kills: int, promised: Promised) -> None:
        """Kill servers at random moments, a worker now and then, and start them again."""
        for number in range(kills):
            if number % 2:
                await asyncio.sleep(self.drawn.choice((0.1, 1.0, 4.0)) * self.drawn.random())
            else:  # on a busy machine little happens in seconds
                await promised.more(self.drawn.randrange(1, 40))
            if number % 4 == 3:
                name = self.drawn.choice(sorted(self.workers))
                await _killed(self.workers[name])
                await self.start_worker(name)
            port = self.drawn.choice(self.ports)
            await _killed(self.servers[port])
            await self.start_server(port)

    async def end(self) -> None:
        for process in [*self.workers.values(), *self.servers.values()]:
            await _killed(process)

    async def _run(self, *command: str) -> Process:
        with self.log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, stderr=log, cwd=ROOT, env=inherited()
            )


async def _killed(process: Process) -> None:
    assert process.returncode is None, "it ended by itself"
    process.send_signal(signal.SIGKILL)
    await process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_nothing_that_was_acknowledged_is_lost_whatever_is_killed(kind, request, tmp_path):
    is_sqlite = kind == "sqlite"
    url = f"sqlite:{tmp_path / 'store.sqlite'}" if is_sqlite else request.getfixturevalue("postgresql").new()
    print(f"seed {SEED}")
    scene = Scene(tmp_path, url, free_ports(1 if is_sqlite else 2), random.Random(SEED))
    promised = Promised()
    try:
        await scene.begin()
        timeout = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
            await _play(scene, session, promised, KILLS or SHORT)
            assert promised.wrong == [], f"seed {SEED}"
            kept = await _native_jobs(Asker(session, scene.ports, scene.drawn, promised))
    finally:
        await scene.end()
    print(f"{kind}: {len(promised.aime)} jobs of aime's clients and {len(promised.native)} native ones were done")
    assert promised.aime, f"seed {SEED}"
    assert promised.native, f"seed {SEED}"
    assert sorted(job["id"] for job in kept) == sorted(promised.native), f"seed {SEED}"
    assert {job["state"] for job in kept} == {"done"}, f"seed {SEED}"


async def _play(scene: Scene, session: aiohttp.ClientSession, promised: Promised, kills: int) -> None:
    stop = asyncio.Event()
    running = []
    for number in range(CLIENTS):
        client = AimeClient() if number % NATIVE else NativeClient()
        ask = Asker(session, scene.ports, random.Random(SEED + number), promised)
        running.append(asyncio.create_task(run(client, f"c{number}", ask, stop)))
    await scene.kill(kills, promised)
    stop.set()
    done, waiting = await asyncio.wait(running, timeout=END_S)
    for task in waiting:
        task.cancel()
    assert not waiting, f"jobs of {len(waiting)} clients don't end, seed {SEED}: {scene.log.read_text()[-2000:]}"
    for task in done:
        task.result()


async def _native_jobs(ask: Asker) -> list[dict[str, Any]]:
    """Return all that are listed, page by page."""
    jobs: list[dict[str, Any]] = []
    path = "/api/jobs?limit=100"
    while page := (await ask.ask("GET", path))["jobs"]:
        jobs += page
        path = f"/api/jobs?limit=100&before={page[-1]['id']}"
    return jobs
