"""A server of jobs over a real store, as small as can be: `python -m tests.system.crash.server URL PORT`.

What clients and workers need of `stepscope.engine.jobs.Jobs`, as JSON. It says `ready` when it answers.
"""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from stepscope.core.errors import StepscopeError, StoreUnavailable
from stepscope.core.jobs import Job, JobState, NewJob
from stepscope.engine.jobs import Jobs
from stepscope.store.sql_jobs import SqlJobs

KIND, OWNER = "crash", "clients"
LEASE_S = 1.5
WAIT_S = 5.0


class Server:
    """The routes."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    async def submit(self, request: web.Request) -> web.Response:
        now = datetime.now(UTC)
        new = NewJob(
            id=f"{request.query['key']}-{now.timestamp()}",
            owner=OWNER,
            kind=KIND,
            key=request.query["key"],
            payload=await request.read(),
            created_at=now,
            expires_at=now + timedelta(hours=1),
            max_attempts=1000,
            lease_s=LEASE_S,
        )
        return _told(await self._jobs.submit(new))

    async def look(self, request: web.Request) -> web.Response:
        job = await self._jobs.ended(request.match_info["id"], float(request.query.get("wait_s", 0)))
        return _told(job) if job is not None else web.json_response({"state": "unknown"})

    async def result(self, request: web.Request) -> web.Response:
        return web.Response(body=await self._jobs.result(request.match_info["id"]) or b"")

    async def claim(self, request: web.Request) -> web.Response:
        claimed = await self._jobs.claim(KIND, request.query["worker"], 1, WAIT_S)
        if not claimed:
            return web.Response(status=204)
        [(job, payload)] = claimed
        return web.Response(body=payload, headers={"x-job": job.id})

    async def finish(self, request: web.Request) -> web.Response:
        job = await self._jobs.finish(request.match_info["id"], request.query["worker"], await request.read())
        assert job is not None
        assert job.state is JobState.DONE
        return _told(job)


def _told(job: Job) -> web.Response:
    return web.json_response({"id": job.id, "state": job.state.value})


@web.middleware
async def _problems(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        answer: web.StreamResponse = await handler(request)
    except StoreUnavailable:
        return web.Response(status=503)
    except StepscopeError as fault:
        return web.Response(status=500, text=repr(fault))
    return answer


async def main(url: str, port: int) -> None:
    jobs = Jobs(SqlJobs(url))
    await jobs.start()
    app = web.Application(middlewares=[_problems], client_max_size=2**24)
    server = Server(jobs)
    app.add_routes(
        [
            web.post("/jobs", server.submit),
            web.get("/jobs/{id}", server.look),
            web.get("/jobs/{id}/result", server.result),
            web.post("/claim", server.claim),
            web.post("/jobs/{id}/result", server.finish),
        ]
    )
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
