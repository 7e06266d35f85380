"""Takes jobs as long as there is room, runs them side by side, and hands their results in until they are taken."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from stepscope.core.errors import InternalFailure
from stepscope.worker.calls import Calls, Offer, ServerAway
from stepscope.worker.predictions import Predictions

log = logging.getLogger("stepscope.worker")

T = TypeVar("T")

REPORT_S = 1.0
"""How often news of the jobs are told."""
ALIVE_S = 5.0
"""How often jobs without news are told of: a sign of life, and the answer says what was cancelled."""
PAUSE_S = 1.0
LONGEST_PAUSE_S = 15.0
"""The waits while the server is away."""


class Worker:
    """Works for one server until it is stopped, or refused."""

    def __init__(self, calls: Calls, predictions: Predictions, batch: int) -> None:
        self._calls = calls
        self._predictions = predictions
        self._batch = batch
        self._stopping = asyncio.Event()
        self._left = asyncio.Event()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._percents: dict[str, float] = {}
        self._news = asyncio.Event()
        self._is_away = False

    def stop(self) -> None:
        """Take no more jobs, and end when those at hand are done; at once when asked again."""
        if self._stopping.is_set():
            for task in self._running.values():
                task.cancel()
        self._stopping.set()

    async def run(self) -> None:
        """Work. Raises `WorkerRefused`, `ModelNotFound`, `ModelUnavailable`."""
        async with self._calls, self._predictions:
            log.info("%s works for %s", self._predictions.model, self._calls.server)
            reporting = asyncio.create_task(self._report_on())
            try:
                await self._take_on()
            finally:
                await asyncio.gather(*self._running.values(), return_exceptions=True)
                reporting.cancel()
                await asyncio.gather(reporting, return_exceptions=True)

    async def _take_on(self) -> None:
        while not self._stopping.is_set():
            self._left.clear()
            room = self._batch - len(self._running)
            if room <= 0:
                await _first(self._left.wait(), self._stopping.wait())
                continue
            offer = await _first(self._ask(room), self._stopping.wait())
            if isinstance(offer, Offer):
                for job in offer.jobs:
                    self._begin(job, offer)

    async def _ask(self, room: int) -> Offer | None:
        """Ask for jobs, as soon as the server is there."""
        facts = self._predictions.facts()
        return await self._patiently(lambda: self._calls.request_jobs(room, facts))

    def _begin(self, job: dict[str, Any], offer: Offer) -> None:
        job_id = str(job["job_id"])
        if job_id not in self._running:  # what was offered twice is run once
            self._running[job_id] = asyncio.create_task(self._do(job_id, job, offer))

    async def _do(self, job_id: str, job: dict[str, Any], offer: Offer) -> None:
        try:
            self._percents[job_id] = 0.0
            self._news.set()
            outputs = await self._outputs(job_id, job, offer)
            self._percents.pop(job_id, None)  # a report must not come after the result
            await self._patiently(lambda: self._calls.send_result(job_id, outputs))
        finally:
            self._percents.pop(job_id, None)
            del self._running[job_id]
            self._left.set()

    async def _outputs(self, job_id: str, job: dict[str, Any], offer: Offer) -> dict[str, Any]:
        def tell(percent: float) -> None:
            self._percents[job_id] = percent
            self._news.set()

        try:
            return await self._predictions.run(job, offer.inputs, offer.outputs, tell)
        except asyncio.CancelledError:
            if self._stopping.is_set():
                raise
            return {"error": "The job was cancelled."}
        except Exception:
            log.exception("job %s failed", job_id)
            return {"error": str(InternalFailure())}

    async def _report_on(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(ALIVE_S):
                    await self._news.wait()
            self._news.clear()
            if self._percents:
                with suppress(ServerAway):  # its other calls wait for it
                    for job_id in await self._calls.report(dict(self._percents)):
                        self._cancel(job_id)
            await asyncio.sleep(REPORT_S)

    def _cancel(self, job_id: str) -> None:
        if job_id in self._percents and (task := self._running.get(job_id)) is not None:
            task.cancel()

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call until the server answers."""
        pause_s = PAUSE_S
        while True:
            try:
                answer = await call()
            except ServerAway as fault:
                if not self._is_away:
                    log.warning("%s can't be worked for, and is tried again: %s", self._calls.server, fault)
                self._is_away = True
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                continue
            if self._is_away:
                log.info("%s is back", self._calls.server)
            self._is_away = False
            return answer


async def _first(*waits: Any) -> Any:
    """Return what the first of some waits gives, and end the others. What it raises is raised."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task.done()).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
