"""Servers and workers are killed at random moments, and nothing that was acknowledged is lost or done twice in sight.

A run has a seed, and prints it. A short run is part of `make test`; the long one, with 200 kills, 8 workers and 32
clients, on SQLite with one server and on PostgreSQL with two:

    STEPSCOPE_CRASH_KILLS=200 .venv/bin/python -m pytest tests/system/test_crash.py -s

`tests/system/crash/server.py` stands for the server: what answers on its routes is the real store behind real `Jobs`.
"""

import asyncio
import os
import random
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from stepscope.core.jobs import JobState
from stepscope.engine.jobs import Jobs
from stepscope.store.sql_jobs import SqlJobs
from tests.system.crash.clients import Client, Promised
from tests.system.crash.server import OWNER

KILLS = int(os.environ.get("STEPSCOPE_CRASH_KILLS", "0"))
SEED = int(os.environ.get("STEPSCOPE_CRASH_SEED", "0")) or random.SystemRandom().randrange(10**9)
SHORT = 8
WORKERS, CLIENTS = (8, 32) if KILLS else (4, 16)
START_S = 60.0
END_S = 120.0
"""How long the last jobs may take once nothing is killed any more."""
ROOT = Path(__file__).parents[2]


@dataclass(slots=True)
class Scene:
    """What runs: servers on their ports, and workers."""

    url: str
    ports: Sequence[int]
    drawn: random.Random
    log: Path
    servers: dict[int, Process] = field(default_factory=dict)
    workers: dict[str, Process] = field(default_factory=dict)

    async def begin(self) -> None:
        await asyncio.gather(*(self.start_server(port) for port in self.ports))
        for number in range(WORKERS):
            await self.start_worker(f"w{number}")

    async def start_server(self, port: int) -> None:
        server = self.servers[port] = await self._run("server", self.url, str(port))
        assert server.stdout is not None
        ready = await asyncio.wait_for(server.stdout.readline(), START_S)
        assert ready == b"ready\n", self.log.read_text()

    async def start_worker(self, name: str) -> None:
        self.workers[name] = await self._run("worker", name, *(str(port) for port in self.ports))

    async def kill(self, kills: int) -> None:
        """Kill servers at random moments, a worker now and then, and start them again."""
        for number in range(kills):
            await asyncio.sleep(self.drawn.uniform(0.05, 1.0))
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

    async def _run(self, part: str, *arguments: str) -> Process:
        command = [sys.executable, "-m", f"tests.system.crash.{part}", *arguments]
        with self.log.open("ab") as log:
            return await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=log, cwd=ROOT)


async def _killed(process: Process) -> None:
    assert process.returncode is None, "it ended by itself"
    process.send_signal(signal.SIGKILL)
    await process.wait()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_nothing_that_was_acknowledged_is_lost_whatever_is_killed(kind, request, tmp_path):
    is_sqlite = kind == "sqlite"
    url = f"sqlite:{tmp_path / 'store.sqlite'}" if is_sqlite else request.getfixturevalue("postgresql").new()
    drawn = random.Random(SEED)
    print(f"seed {SEED}")
    scene = Scene(url, _free_ports(1 if is_sqlite else 2), drawn, tmp_path / "log")
    promised = Promised()
    try:
        await scene.begin()
        await _play(scene, promised, KILLS or SHORT)
    finally:
        await scene.end()
    print(f"{kind}: {len(promised.jobs)} jobs were acknowledged")
    assert promised.wrong == [], f"seed {SEED}"
    assert len(promised.jobs) > (KILLS or SHORT), f"seed {SEED}"
    await _check(url, promised)


async def _play(scene: Scene, promised: Promised, kills: int) -> None:
    stop = asyncio.Event()
    clients = [
        Client(f"c{number}", list(scene.ports), random.Random(SEED + number), promised) for number in range(CLIENTS)
    ]
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        running = [asyncio.create_task(client.run(session, stop)) for client in clients]
        await scene.kill(kills)
        stop.set()
        done, waiting = await asyncio.wait(running, timeout=END_S)
        for task in waiting:
            task.cancel()
        assert not waiting, f"jobs of {len(waiting)} clients don't end, seed {SEED}: {scene.log.read_text()[-2000:]}"
        for task in done:
            task.result()


async def _check(url: str, promised: Promised) -> None:
    """Each key has one job, as it was acknowledged, and it is done."""
    jobs = Jobs(SqlJobs(url))
    await jobs.start()
    try:
        kept = await jobs.list(OWNER, count=10**6)
    finally:
        await jobs.stop()
    assert sorted(job.id for job in kept) == sorted(promised.jobs.values()), f"seed {SEED}"
    assert {job.state for job in kept} == {JobState.DONE}, f"seed {SEED}"
