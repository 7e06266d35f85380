"""The load generator of the open loop: requests leave at random times that don't wait for answers.

Arrivals are a Poisson process from a seed. Latency counts from the time at which a request was meant to leave, so
that a server that holds everybody up can't hide it (Tene, "How not to measure latency": coordinated omission). With
`--connections` it closes the loop instead, to be compared with wrk. Run as a process of its own; prints JSON.
"""

import argparse
import asyncio
import ctypes
import json
import os
import random
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import httptools
import uvloop

OPEN_AT_FIRST = 32
MOST = 2000
PATIENCE_S = 60.0


class Timer:
    """Wakes the loop at a time, within microseconds: the loop's own timers count milliseconds."""

    _ABSOLUTE = 1

    def __init__(self, wake: Callable[[], None]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._file = self._libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK)
        if self._file < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._wake = wake
        asyncio.get_running_loop().add_reader(self._file, self._due)

    def at(self, moment: float) -> None:
        """Set the time, in seconds of the monotonic clock."""
        whole = int(moment)
        setting = (ctypes.c_long * 4)(0, 0, whole, int((moment - whole) * 1e9))
        self._libc.timerfd_settime(self._file, self._ABSOLUTE, setting, None)

    def _due(self) -> None:
        os.read(self._file, 8)
        self._wake()


class Connection(asyncio.Protocol):
    """One connection, with at most one request under way."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._meant = 0.0
        self._busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready."""
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpResponseParser(self)
        self._load.free(self)

    def send(self, request: bytes, meant: float) -> None:
        """Send a request that was meant to leave at a time."""
        self._meant, self._busy = meant, True
        self._load.lags.append(time.monotonic() - meant)
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Note the answer."""
        self._busy = False
        self._load.answered(time.monotonic() - self._meant, self._parser.get_status_code())
        if self._parser.should_keep_alive():
            self._parser = httptools.HttpResponseParser(self)
            self._load.free(self)
        else:
            self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        """Count what was under way as lost, and open another."""
        self._load.lost(self, under_way=self._busy)


class Load:
    """Sends requests over as many connections as it takes, and notes the answers."""

    def __init__(self, port: int, requests: Sequence[bytes], refill: Callable[[], None] | None = None) -> None:
        self._port = port
        self._requests = requests
        self._refill = refill
        self._turn = 0
        self._free: list[Connection] = []
        self._waiting: deque[float] = deque()
        self._tasks: set[asyncio.Task[object]] = set()
        self.opened = 0
        self.sent = 0
        self.latencies: list[float] = []
        self.lags: list[float] = []
        self.errors = 0

    @property
    def under_way(self) -> int:
        """Requests without an answer so far."""
        return self.sent - len(self.latencies) - self.errors

    async def open(self, count: int) -> None:
        """Open connections."""
        loop = asyncio.get_running_loop()
        self.opened += count
        await asyncio.gather(
            *[loop.create_connection(lambda: Connection(self), "127.0.0.1", self._port) for _ in range(count)]
        )

    def send(self, meant: float) -> None:
        """Send the next request now, or as soon as a connection is free."""
        self.sent += 1
        if self._free:
            self._send_on(self._free.pop(), meant)
            return
        self._waiting.append(meant)
        if self.opened < MOST:
            task = asyncio.ensure_future(self.open(1))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _send_on(self, connection: Connection, meant: float) -> None:
        self._turn = (self._turn + 1) % len(self._requests)
        connection.send(self._requests[self._turn], meant)

    def free(self, connection: Connection) -> None:
        """Take a connection back."""
        if self._waiting:
            self._send_on(connection, self._waiting.popleft())
            return
        self._free.append(connection)
        if self._refill is not None:
            self._refill()

    def answered(self, latency: float, status: int) -> None:
        """Note an answer."""
        if 200 <= status < 300:
            self.latencies.append(latency)
        else:
            self.errors += 1

    def lost(self, connection: Connection, *, under_way: bool) -> None:
        """Forget a connection."""
        self.opened -= 1
        self.errors += under_way
        if connection in self._free:
            self._free.remove(connection)


async def open_loop(port: int, requests: Sequence[bytes], rate: float, seconds: float, seed: int) -> dict[str, float]:
    """Send at a mean rate for some seconds; wait for what is under way."""
    random_gap = random.Random(seed)
    load = Load(port, requests)
    await load.open(OPEN_AT_FIRST)
    begin = time.monotonic() + 0.05
    end, meant, over = begin + seconds, begin, asyncio.Event()

    def send_due() -> None:
        nonlocal meant
        while meant < end and meant <= time.monotonic():
            load.send(meant)
            meant += random_gap.expovariate(rate)
        if meant < end:
            timer.at(meant)
        else:
            over.set()

    timer = Timer(send_due)
    timer.at(meant)
    await over.wait()
    done, took = len(load.latencies), time.monotonic() - begin
    await _finish(load)
    return _summary(load) | {"offered_per_s": load.sent / seconds, "achieved_per_s": done / took}


async def closed_loop(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> dict[str, float]:
    """Keep connections busy for some seconds."""
    begin = time.monotonic()

    def again() -> None:
        if (now := time.monotonic()) < begin + seconds:
            load.send(now)

    load = Load(port, requests, again)
    await load.open(connections)
    await asyncio.sleep(seconds)
    done, took = len(load.latencies), time.monotonic() - begin
    await _finish(load)
    return _summary(load) | {"requests_per_s": done / took}


async def _finish(load: Load) -> None:
    until = time.monotonic() + PATIENCE_S
    while load.under_way and time.monotonic() < until:  # noqa: ASYNC110 - an event would cost each answer
        await asyncio.sleep(0.01)


def _summary(load: Load) -> dict[str, float]:
    hundredths = statistics.quantiles(load.latencies, n=100) if len(load.latencies) > 1 else [0.0] * 99
    lags = statistics.quantiles(load.lags, n=100) if len(load.lags) > 1 else [0.0] * 99
    return {
        "requests": load.sent,
        "errors": load.errors + load.under_way,
        "p50_ms": hundredths[49] * 1e3,
        "p90_ms": hundredths[89] * 1e3,
        "p99_ms": hundredths[98] * 1e3,
        "lag_p99_ms": lags[98] * 1e3,
        "connections": load.opened,
    }


def _request(path: str, content_type: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}\r\n".encode() + body


def main() -> None:
    """Print what came of it as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--content-type", default="application/json")
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--connections", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("bodies", nargs="+", type=Path)
    given = parser.parse_args()
    requests = [_request(given.path, given.content_type, path.read_bytes()) for path in given.bodies]
    if given.connections:
        work = closed_loop(given.port, requests, given.connections, given.seconds)
    else:
        work = open_loop(given.port, requests, given.rate, given.seconds, given.seed)
    print(json.dumps(uvloop.run(work)))


if __name__ == "__main__":
    main()
