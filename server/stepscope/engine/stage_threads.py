"""Threads for an operator's own functions: away from the event loop, which they may block, and from the devices.

As on a device, what waits for one function runs together, whatever request it came with; owners take turns; what
nobody waits for any more is left out.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from stepscope.core.batching import Batcher
from stepscope.core.recording import Recorder, TagValue
from stepscope.core.servables import CALL_MODEL, CallModel, StageFailed, Values
from stepscope.core.stage_calls import Call, Outcome, call
from stepscope.core.steps import NAMES, Step
from stepscope.engine.deliveries import deliver

log = logging.getLogger("stepscope.stages")


@dataclass(slots=True, kw_only=True, eq=False)
class StageRun:
    """One request's instances at one stage. `outcomes` fills in place; the future is done when all are there."""

    outcomes: list[Outcome | None]
    remaining: int
    future: asyncio.Future[None]
    cancelled: bool = False
    recorder: Recorder | None = None
    places: Sequence[int] = ()
    """The instances' places in the request, where it is traced."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Ticket:
    lane: Call
    owner: str
    cap: int
    values: Values
    run: StageRun
    place: int
    entered: float = field(default_factory=time.perf_counter)

    @property
    def cancelled(self) -> bool:
        return self.run.cancelled


class StageThreads:
    """Runs functions on `count` threads, which start with the first use. `call_model` is for the functions."""

    def __init__(self, name: str, count: int, call_model: CallModel) -> None:
        self._call_model = call_model
        self._batcher: Batcher[_Ticket] = Batcher()
        self._wake = threading.Condition()
        self._stopped = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads = [
            threading.Thread(target=self._work, name=f"stages-{name}-{index}", daemon=True) for index in range(count)
        ]

    def submit(
        self,
        stage: Call,
        instances: Sequence[Values],
        *,
        owner: str,
        cap: int,
        recorder: Recorder | None = None,
        places: Sequence[int] = (),
    ) -> StageRun:
        """Queue instances for a function, which gets `cap` of them at once at most. Call it from the event loop.

        A `recorder` is told of the instances' way, under their `places` in its request.
        """
        loop = asyncio.get_running_loop()
        count, future = len(instances), loop.create_future()
        run = StageRun(outcomes=[None] * count, remaining=count, future=future, recorder=recorder, places=places)
        if not instances:
            run.future.set_result(None)
            return run
        if self._loop is None:
            self._loop = loop
            for thread in self._threads:
                thread.start()
        with self._wake:
            for place, values in enumerate(instances):
                self._batcher.put(_Ticket(lane=stage, owner=owner, cap=cap, values=values, run=run, place=place))
            self._wake.notify()
        return run

    def stop(self) -> None:
        """Take nothing more. A function that runs isn't waited for: it may hang."""
        with self._wake:
            self._stopped = True
            self._wake.notify_all()

    def _work(self) -> None:
        CALL_MODEL.set(self._call_model)
        while True:
            with self._wake:
                while not (batch := self._batcher.take()) and not self._stopped:
                    self._wake.wait()
                if self._stopped:
                    return
            self._run(batch)
            del batch

    def _run(self, batch: list[_Ticket]) -> None:
        started = time.perf_counter()
        outcomes = _outcomes(batch)
        _note(batch, outcomes, started, time.perf_counter())
        finished = []
        with self._wake:  # another thread may hold the rest of the same run
            for ticket, outcome in zip(batch, outcomes, strict=True):
                run = ticket.run
                run.outcomes[ticket.place] = outcome
                run.remaining -= 1
                if run.remaining == 0:
                    finished.append(run)
        if finished:
            deliver(finished, self._loop)


def _outcomes(batch: list[_Ticket]) -> list[Outcome]:
    try:
        return call(batch[0].lane, [ticket.values for ticket in batch])
    except BaseException:  # SystemExit, say: the thread has to go on for the others
        log.exception("a stage's function ended its thread; its instances fail")
        return [StageFailed("the function tried to end the server")] * len(batch)


def _note(batch: list[_Ticket], outcomes: list[Outcome], started: float, ended: float) -> None:
    """Tell the recorders of instances that are traced: of their time in the queue, and in the function."""
    for ticket, outcome in zip(batch, outcomes, strict=True):
        recorder = ticket.run.recorder
        if recorder is None:
            continue
        place = ticket.run.places[ticket.place]
        told: dict[str, TagValue] = {"stage": ticket.lane.index, "instances": len(batch)}
        if isinstance(outcome, StageFailed):
            told["error"] = str(outcome)
        recorder.note(NAMES[Step.QUEUE], ticket.entered, started, place)
        recorder.note(ticket.lane.name, started, ended, place, told)
