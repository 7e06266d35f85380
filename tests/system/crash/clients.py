"""Clients that submit jobs and wait for them, whatever becomes of the servers; they note what was promised to them."""

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.system.crash.worker import work

PAUSE_S = 0.05
LARGE_BYTES = 200_000


@dataclass(slots=True)
class Promised:
    """What all clients were told."""

    jobs: dict[str, str] = field(default_factory=dict)
    """The id that was acknowledged, by key."""
    payloads: dict[str, bytes] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Client:
    """A client that has one job at a time, under keys of its own."""

    name: str
    ports: list[int]
    drawn: random.Random
    promised: Promised

    async def run(self, session: aiohttp.ClientSession, stop: asyncio.Event) -> None:
        """Submit jobs and see them done, one after another."""
        number = 0
        while not stop.is_set():
            await self._one(session, f"{self.name}-{number}")
            number += 1

    async def _one(self, session: aiohttp.ClientSession, key: str) -> None:
        size = LARGE_BYTES if self.drawn.random() < 0.05 else self.drawn.randrange(1, 2000)
        payload = self.drawn.randbytes(size)
        _, content = await self._asked(session, "POST", f"/jobs?key={key}", payload)
        job_id = content["id"]
        self.promised.jobs[key], self.promised.payloads[key] = job_id, payload
        state = content["state"]
        while state != "done":
            wait_s = self.drawn.choice((0, 0, 2))
            _, content = await self._asked(session, "GET", f"/jobs/{job_id}?wait_s={wait_s}")
            state = content["state"]
            if state not in ("queued", "processing", "done"):
                self.promised.wrong.append(f"{job_id} is {state}")
                return
            if state != "done" and not wait_s:
                await asyncio.sleep(PAUSE_S)
        _, result = await self._asked(session, "GET", f"/jobs/{job_id}/result", is_json=False)
        if result != work(payload):
            self.promised.wrong.append(f"{job_id} has another result")

    async def _asked(
        self, session: aiohttp.ClientSession, method: str, path: str, body: bytes = b"", *, is_json: bool = True
    ) -> tuple[int, Any]:
        """Ask any server until one answers."""
        while True:
            try:
                port = self.drawn.choice(self.ports)
                async with session.request(method, f"http://127.0.0.1:{port}{path}", data=body or None) as answer:
                    if answer.status < 300:
                        return answer.status, (await answer.json() if is_json else await answer.read())
                    if answer.status != 503:
                        self.promised.wrong.append(f"{path} was answered with {answer.status}")
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass
            await asyncio.sleep(PAUSE_S)
