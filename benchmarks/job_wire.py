"""Jobs over HTTP, as AIME's clients and workers send them: a server of ours, workers that do nothing, and callers.

Callers and workers keep their connections and share this process; the server's processes are weighed apart.
"""

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from benchmarks.plan import Plan
from benchmarks.sides import Running, start_ours
from benchmarks.subjects import lenet

ENDPOINT = """
[ENDPOINT]
name = "nothing"
max_queue_length = 100000
[CLIENTS]
authorization_keys = { "ada" = "key" }
[WORKER]
job_type = "nothing"
auth_key = "worker-key"
[INPUTS]
text = { type = "string", required = true }
[OUTPUTS]
text = { type = "string" }
"""
KEY, WORKER_KEY = "key", "worker-key"
CLIENTS, WORKERS, BATCH = 64, 16, 4
POLLERS, POLL_S = 1000, 0.3


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> Any:
    """Send a request on a connection that stays open, and return its answer's JSON."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    body = await reader.readexactly(length)
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"{request[:80]!r} is answered {head[:15]!r} {body[:300]!r}")
    return json.loads(body)


def _post(path: str, body: Any) -> bytes:
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(data) + data


def _poll(job_id: str) -> bytes:
    return f"GET /nothing/progress?key={KEY}&job_id={quote(job_id)} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


def measure(url: str, processes: int, plan: Plan) -> dict[str, float]:
    """Start a server over an empty store, drive jobs through it, then let many clients poll."""
    endpoints = plan.scratch / "endpoints"
    endpoints.mkdir(exist_ok=True)
    (endpoints / "aime_api_endpoint.cfg").write_text(ENDPOINT)
    settings: dict[str, dict[str, object]] = {
        "store": {"url": url},
        "server": {"processes": processes},
        "aime": {"endpoints": [str(endpoints)]},
    }
    running = start_ours(lenet(plan.scratch), settings)
    try:
        return asyncio.run(_measure(running, plan.seconds))
    finally:
        running.stop()


async def _measure(running: Running, seconds: float) -> dict[str, float]:
    port = running.endpoint.port
    workers = [asyncio.create_task(_worker(port, number)) for number in range(WORKERS)]
    await _through(port, 1.0)
    before = running.process.usage().cpu_s
    took = await _through(port, seconds)
    cpu_s = running.process.usage().cpu_s - before
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    polls, polled_s, poll_cpu_s = await _polled(running, seconds)
    took.sort()
    return {
        "jobs_per_s": len(took) / seconds,
        "cpu_ms": cpu_s / len(took) * 1e3,
        "p50_ms": took[len(took) // 2] * 1e3,
        "p99_ms": took[len(took) * 99 // 100] * 1e3,
        "polls_per_s": polls / polled_s,
        "pollers_cores": poll_cpu_s / polled_s,
    }


async def _through(port: int, seconds: float) -> list[float]:
    """Keep clients busy that wait for their results; return how long each took."""
    until_s = time.monotonic() + seconds
    took: list[float] = []

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        request = _post("/nothing", {"text": "hello", "key": KEY, "wait_for_result": True})
        while time.monotonic() < until_s:
            started_s = time.monotonic()
            answer = await _ask(reader, writer, request)
            assert answer["text"] == "HELLO", answer
            took.append(time.monotonic() - started_s)
        writer.close()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return took


async def _worker(port: int, number: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    known = {"auth": f"w#{number}", "job_type": "nothing", "auth_key": WORKER_KEY}
    wish = _post("/worker_job_request", {**known, "version": "1", "max_job_batch": BATCH, "request_timeout": 60})
    try:
        while True:
            offer = await _ask(reader, writer, wish)
            for request in _results(known, offer):
                await _ask(reader, writer, request)
    finally:
        writer.close()


def _results(known: dict[str, Any], offer: dict[str, Any]) -> Iterator[bytes]:
    for job in offer.get("job_data", ()):
        yield _post("/worker_job_result", {**known, "job_id": job["job_id"], "text": job["text"].upper()})


async def _polled(running: Running, seconds: float) -> tuple[int, float, float]:
    """Let clients poll jobs that wait; return the polls, the seconds, and the server's CPU seconds."""
    port, count = running.endpoint.port, 0
    ready = asyncio.Event()
    until_s = 0.0

    async def poller(number: int) -> None:
        nonlocal count
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        request = _post("/nothing", {"text": "hello", "key": KEY, "wait_for_result": False})
        poll = _poll((await _ask(reader, writer, request))["job_id"])
        await ready.wait()
        await asyncio.sleep(number / POLLERS * POLL_S)
        while time.monotonic() < until_s:
            next_s = time.monotonic() + POLL_S
            assert (await _ask(reader, writer, poll))["job_state"] == "queued"
            count += 1
            await asyncio.sleep(max(0.0, next_s - time.monotonic()))
        writer.close()

    pollers = [asyncio.create_task(poller(number)) for number in range(POLLERS)]
    await asyncio.sleep(4.0)
    before, started_s = running.process.usage().cpu_s, time.monotonic()
    until_s = started_s + seconds
    ready.set()
    await asyncio.gather(*pollers)
    return count, time.monotonic() - started_s, running.process.usage().cpu_s - before
