"""What a server holds after many cycles of open, predict, close; and what many clients at once are answered."""

import asyncio
import base64
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import httpx2
import numpy as np
import psutil
import pytest
from safetensors.numpy import load_file

from stepscope.settings import BUILTIN
from tests.system.live import Live, serving

CYCLES, WARM_UP = 200, 20
POOLED = 8
"""Threads that pools may still add: they make one whenever none happens to be idle, up to their sizes."""
CLIENTS, INPUTS_EACH, BURST_S = 64, 4, 10.0
SEVEN = base64.b64encode((BUILTIN / "lenet" / "samples" / "14_label7.png").read_bytes()).decode()
WEIGHTS_BYTES = sum(array.nbytes for array in load_file(BUILTIN / "lenet" / "1.0.0" / "lenet.safetensors").values())
OCTETS = {"content-type": "application/octet-stream", "accept": "application/octet-stream"}
Array = np.ndarray
Json = dict[str, Any]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server that nobody else has used."""
    with serving(tmp_path_factory.mktemp("soak")) as live:
        yield live


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """What a process holds."""

    resident_bytes: int
    threads: int
    files: int


def holdings(process: psutil.Process) -> Holdings:
    with process.oneshot():
        return Holdings(
            resident_bytes=process.memory_info().rss, threads=process.num_threads(), files=process.num_fds()
        )


def test_cycles_leave_nothing_behind(live: Live) -> None:
    process = psutil.Process(live.pid)
    with live.client() as client:
        seen = [cycle(client, process) for _ in range(CYCLES)]
    early, last = seen[WARM_UP - 1], seen[-1]
    assert last.resident_bytes <= 1.05 * early.resident_bytes
    assert last.files == early.files
    assert last.threads <= early.threads + POOLED


def cycle(client: httpx2.Client, process: psutil.Process) -> Holdings:
    """Open, predict an image and tensors, close; return what the server holds then."""
    predictor = {"id": post(client, "open", {"model_name": "lenet"})["id"]}
    image = post(client, "images", {"predictor": predictor, "images": [{"data": SEVEN}]})
    assert image["responses"][0]["features"][0]["classification"]["label"] == "7"
    zeros = {"shape": [1, 28, 28], "data": [0.0] * 784}
    tensors = post(client, "tensors", {"predictor": predictor, "tensors": [zeros, zeros]})
    assert len(tensors["responses"]) == 2
    assert post(client, "close", {"predictor": predictor})["freed_bytes"] == WEIGHTS_BYTES
    return holdings(process)


def post(client: httpx2.Client, operation: str, body: object) -> Json:
    answer = client.post(f"/api/predict/{operation}", json=body)
    assert answer.status_code == 200, answer.text
    document: Json = answer.json()
    return document


async def test_each_of_many_clients_gets_its_own_answers(live: Live) -> None:
    inputs = np.random.default_rng(7).random((CLIENTS, INPUTS_EACH, 1, 28, 28), np.float32)
    connector = aiohttp.TCPConnector(limit=CLIENTS)
    async with aiohttp.ClientSession(live.url, connector=connector) as session:
        predictor = await opened(session)
        expected = [[await predicted(session, predictor, one) for one in mine] for mine in inputs]
        assert apart(np.array(expected).reshape(CLIENTS * INPUTS_EACH, -1)) > 1e-3
        until = time.monotonic() + BURST_S
        counts = await asyncio.gather(
            *[burst(session, predictor, mine, alone, until) for mine, alone in zip(inputs, expected, strict=True)]
        )
    assert min(counts) > 0


async def burst(session: aiohttp.ClientSession, predictor: str, mine: Array, alone: list[Array], until: float) -> int:
    """Ask for one's own inputs in turn; each answer is the one that the input got alone. Returns how many came."""
    count = 0
    while time.monotonic() < until:
        answer = await predicted(session, predictor, mine[count % len(mine)])
        np.testing.assert_allclose(answer, alone[count % len(mine)], rtol=0, atol=1e-4)
        count += 1
    return count


async def opened(session: aiohttp.ClientSession) -> str:
    async with session.post("/api/predict/open", json={"model_name": "lenet"}) as answer:
        return str((await answer.json())["id"])


async def predicted(session: aiohttp.ClientSession, predictor: str, one: Array) -> Array:
    """Return the model's first output for one input."""
    query = {"predictor_id": predictor, "shape": "1,1,28,28", "dtype": "float32"}
    async with session.post("/api/predict/tensors", params=query, data=one.tobytes(), headers=OCTETS) as answer:
        body = await answer.read()
        assert answer.status == 200, body
        return np.frombuffer(body, answer.headers["x-tensor-dtype"])


def apart(answers: Array) -> float:
    """Return the smallest distance between two answers: below the tolerance, a mix-up couldn't be seen."""
    distances = np.abs(answers[:, None] - answers[None]).max(axis=2)
    return float(distances[~np.eye(len(answers), dtype=bool)].min())
