"""Following one job: what a watcher is told, and when."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress

from stepscope.core.jobs import Job, JobState, Standing
from stepscope.engine.jobs import Jobs

TICK_S = 1.0
"""How soon a watcher hears that the server stops."""
PLACE_TICKS = 2
"""How often a waiting job's place is looked up: nobody tells of it when those before it go."""
ALIVE_TICKS = 10
"""How long nothing is told before a sign of life is."""

Seen = tuple[Job, Standing]


async def follow(jobs: Jobs, job_id: str, serves: Callable[[], bool]) -> AsyncGenerator[Seen | None, None]:
    """Yield a job with its standing at once, and again when one of them has changed, until its end.

    None is a sign of life. Ends early when the job is forgotten, and when the server doesn't serve any more.
    """
    job: Job | None = None
    told: object = None
    quiet = 0
    async with aclosing(_with_ticks(jobs.watch(job_id))) as changes:
        async for changed in changes:
            job, quiet = changed or job, quiet + 1
            if changed is None and not serves():
                return
            if job is not None and (changed or (job.state is JobState.QUEUED and quiet % PLACE_TICKS == 0)):
                standing = await jobs.standing(job)
                seen = (job.state, job.percent, job.progress, job.attempts, standing.place)
                if seen != told:
                    told, quiet = seen, 0
                    yield job, standing
                    continue
            if quiet >= ALIVE_TICKS:
                quiet = 0
                yield None


async def _with_ticks(changes: AsyncGenerator[Job, None]) -> AsyncGenerator[Job | None, None]:
    """Yield what changes, and None whenever nothing has for a while."""
    coming = asyncio.ensure_future(anext(changes, None))
    try:
        while True:
            await asyncio.wait({coming}, timeout=TICK_S)
            if not coming.done():
                yield None
                continue
            job = coming.result()
            if job is None:
                return
            yield job
            coming = asyncio.ensure_future(anext(changes, None))
    finally:
        coming.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await coming
        await changes.aclose()
