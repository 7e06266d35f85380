"""Clients that submit jobs and wait for them, whatever becomes of the servers; they note what was promised to them."""

import asyncio
import base64
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import aiohttp
from yarl import URL

from stepscope.settings import BUILTIN
from tests.system.crash.worker import KIND, work

KEY = "a-key-for-clients"
PAUSE_S = 0.05
LARGE = 100_000
END_S = 240.0
"""How long jobs may take."""
SAMPLES = sorted((Path(BUILTIN) / "lenet" / "samples").glob("*_label?.png"))


@dataclass(slots=True)
class Promised:
    """What all clients were told, and what was wrong with it."""

    aime: set[str] = field(default_factory=set)
    native: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)

    async def more(self, count: int) -> None:
        """Wait until so many more jobs are acknowledged."""
        wanted = len(self.aime) + len(self.native) + count
        async with asyncio.timeout(END_S):
            while len(self.aime) + len(self.native) < wanted:  # noqa: ASYNC110 - now and then is enough
                await asyncio.sleep(PAUSE_S)


@dataclass(slots=True)
class Asker:
    """Asks any of the servers until one answers."""

    session: aiohttp.ClientSession
    ports: Sequence[int]
    drawn: random.Random
    promised: Promised

    async def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        while True:
            url = f"http://127.0.0.1:{self.drawn.choice(self.ports)}{path}"
            try:
                async with self.session.request(method, URL(url, encoded=True), json=body, headers=headers) as answer:
                    if answer.status < 300:
                        return await answer.json()
                    assert answer.status == 503, f"{path} was answered {answer.status}: {await answer.text()}"
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass
            await asyncio.sleep(PAUSE_S)

    async def pause(self) -> None:
        await asyncio.sleep(self.drawn.choice((0.02, 0.1, 0.3)))


class Client(Protocol):
    """A client that has one job at a time."""

    async def one(self, ask: Asker, name: str) -> None:
        """Submit a job and see it done."""


class AimeClient:
    """Polls on aime's wire, for what workers do."""

    async def one(self, ask: Asker, name: str) -> None:
        text = f"{name} " + "x" * (LARGE if ask.drawn.random() < 0.05 else ask.drawn.randrange(1000))
        submitted = await ask.ask("POST", f"/{KIND}", {"text": text, "key": KEY, "wait_for_result": False})
        job_id = submitted["job_id"]
        ask.promised.aime.add(job_id)
        poll = f"/{KIND}/progress?key={KEY}&job_id={quote(job_id)}"
        while (told := await ask.ask("GET", poll))["job_state"] != "done":
            if told["job_state"] not in ("queued", "processing"):
                ask.promised.wrong.append(f"{job_id} is {told}")
                return
            await ask.pause()
        again = await ask.ask("GET", poll)
        if not told["job_result"].get("text") == again["job_result"].get("text") == work(text):
            ask.promised.wrong.append(f"{job_id} has another result: {told['job_result'].get('error')}")


class NativeClient:
    """Has a digit recognised by the server's own engine; says each thing twice."""

    async def one(self, ask: Asker, name: str) -> None:
        sample = ask.drawn.choice(SAMPLES)
        job = {
            "kind": "images",
            "model": {"model_name": "lenet"},
            "images": [{"id": "digit", "data": base64.b64encode(sample.read_bytes()).decode()}],
            "options": {"feature_limit": 1},
        }
        first, second = [await ask.ask("POST", "/api/jobs", job, {"idempotency-key": name}) for _ in range(2)]
        job_id = first["id"]
        ask.promised.native.add(job_id)
        if second["id"] != job_id:
            ask.promised.wrong.append(f"{name} has two jobs")
        while (state := (await ask.ask("GET", f"/api/jobs/{job_id}"))["state"]) != "done":
            if state not in ("queued", "processing"):
                ask.promised.wrong.append(f"{job_id} is {state}")
                return
            await ask.pause()
        result = await ask.ask("GET", f"/api/jobs/{job_id}/result")
        [label] = [answer["features"][0]["classification"]["label"] for answer in result["responses"]]
        if f"label{label}" not in sample.name:
            ask.promised.wrong.append(f"{job_id} is taken for {label} and is {sample.name}")


async def run(client: Client, name: str, ask: Asker, stop: asyncio.Event) -> None:
    """Have one job after another done."""
    number = 0
    while not stop.is_set():
        await client.one(ask, f"{name}-{number}")
        number += 1
