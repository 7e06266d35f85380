"""The calls of AIME's worker protocol, to one server that the operator names.

The guards of `engine.fetch` are against clients' URLs. This one is the operator's own, and may lie in a private
network.
"""

import json
import ssl
from dataclasses import dataclass
from typing import Any

import aiohttp

from stepscope.core.errors import StepscopeError

WAIT_S = 60.0
"""How long the server may hold a request for jobs; it answers earlier by a tenth."""
CALL_S = 30.0
VERSION = "stepscope worker"
PROTOCOL = 2
"""The `worker_version` that is told."""


class ServerAway(Exception):
    """The server gave no usable answer. The text is for the log."""


class WorkerRefused(StepscopeError):
    """The server doesn't want this worker."""

    def __init__(self, server: str, reason: str) -> None:
        super().__init__(f"The server at {server} refuses this worker: {reason.rstrip('.')}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """How a worker names itself, and its permission."""

    auth: str
    job_type: str
    auth_key: str

    def fields(self) -> dict[str, Any]:
        """Return what stands in every message."""
        return {"auth": self.auth, "job_type": self.job_type, "auth_key": self.auth_key}


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Jobs, and what their endpoint says of their parameters and outputs."""

    jobs: tuple[dict[str, Any], ...]
    inputs: dict[str, Any]
    outputs: dict[str, Any]


class Calls:
    """Speaks to the server. Every call raises `ServerAway` when there is no usable answer."""

    def __init__(self, server: str, identity: Identity, tls: ssl.SSLContext | None = None) -> None:
        self.server = server.rstrip("/")
        self._identity = identity
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Calls":
        connector = aiohttp.TCPConnector(ssl=True if self._tls is None else self._tls)
        self._session = aiohttp.ClientSession(connector=connector, headers={"User-Agent": VERSION})
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        await self._session.close()

    async def request_jobs(self, count: int, facts: dict[str, Any]) -> Offer | None:
        """Ask for up to `count` jobs, and wait for some; None when none came. Raises `WorkerRefused`."""
        body = {
            **self._identity.fields(),
            **facts,
            "version": VERSION,
            "worker_version": PROTOCOL,
            "request_timeout": WAIT_S,
            "max_job_batch": count,
        }
        answer = await self._post("/worker_job_request", body, WAIT_S + CALL_S)
        command = answer.get("cmd")
        if command == "error":
            raise WorkerRefused(self.server, str(answer.get("msg")))
        if command == "no_job":
            return None
        if command != "job":
            raise ServerAway(f"it says {command!r}: {answer.get('msg')!r}")
        return _read_offer(answer)

    async def report(self, percents: dict[str, float]) -> set[str]:
        """Tell how far jobs are; return those that were cancelled."""
        fields = {"job_type": self._identity.job_type, "auth_key": self._identity.auth_key}
        about = {"auth": self._identity.auth, "version": VERSION}
        body = [
            {**fields, "job_id": job_id, "progress": percent, "progress_data": about}
            for job_id, percent in percents.items()
        ]
        answer = await self._post_any("/worker_job_progress", body, CALL_S)
        entries = answer if isinstance(answer, list) else [answer]
        return {str(one.get("job_id")) for one in entries if isinstance(one, dict) and one.get("canceled") is True}

    async def send_result(self, job_id: str, outputs: dict[str, Any]) -> None:
        """Hand a result in."""
        await self._post_any(
            "/worker_job_result", {**outputs, **self._identity.fields(), "version": VERSION, "job_id": job_id}, CALL_S
        )

    async def _post(self, route: str, body: Any, limit_s: float) -> dict[str, Any]:
        answer = await self._post_any(route, body, limit_s)
        if not isinstance(answer, dict):
            raise ServerAway("its answer is no object")
        return answer

    async def _post_any(self, route: str, body: Any, limit_s: float) -> Any:
        assert self._session is not None, "used within `async with`"
        limits = aiohttp.ClientTimeout(total=limit_s, sock_connect=10.0)
        try:
            async with self._session.post(self.server + route, json=body, timeout=limits) as response:
                if response.status != 200:
                    raise ServerAway(f"it answers {response.status}")
                return json.loads(await response.read())
        except (aiohttp.ClientError, OSError, TimeoutError) as fault:
            raise ServerAway(str(fault) or type(fault).__name__) from fault
        except ValueError as fault:
            raise ServerAway("its answer is no JSON") from fault


def _read_offer(answer: dict[str, Any]) -> Offer:
    jobs = answer.get("job_data")
    if not isinstance(jobs, list) or not all(isinstance(job, dict) and "job_id" in job for job in jobs):
        raise ServerAway("its jobs can't be read")
    return Offer(
        jobs=tuple(jobs),
        inputs=_described(answer.get("input_descriptions")),
        outputs=_described(answer.get("final_output_descriptions")),
    )


def _described(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
