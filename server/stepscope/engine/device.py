"""A thread for each device: it takes batches and runs them; nothing else touches the device.

A run is one request's tickets for one model. The thread is woken once for all that one turn of the event loop brings,
and the event loop once for each batch: every switch in between would hand the interpreter over, and leave smaller
batches.
"""

import asyncio
import functools
import logging
import queue
import threading
import time
from collections.abc import Callable, Hashable, Sequence

import msgspec

from stepscope.core.batching import Batcher
from stepscope.core.errors import InputFailed, PredictionFailed
from stepscope.core.frames import Frame
from stepscope.core.ports import Inputs, LoadedModel, Outputs
from stepscope.core.predictions import Array
from stepscope.core.rankings import Ranking
from stepscope.core.recording import BatchRecord, Recorder
from stepscope.core.steps import NAMES, Step
from stepscope.engine.deliveries import deliver

log = logging.getLogger("stepscope.device")

Outcome = Outputs | Ranking | InputFailed


class Run(msgspec.Struct, kw_only=True, eq=False):
    """Tickets that are waited for together. `outcomes` is filled in place, in the order of the inputs."""

    outcomes: list[Outcome | None]
    remaining: int
    future: asyncio.Future[None]
    cancelled: bool = False
    queued_s: float = 0.0
    predicted_s: float = 0.0
    recorder: Recorder | None = None
    places: Sequence[int] = ()
    """The inputs' places in the request, where it is traced."""


class Ticket(msgspec.Struct, kw_only=True, eq=False):
    """One input on its way to the device and back."""

    lane: Hashable
    owner: str
    cap: int
    model: LoadedModel
    inputs: Inputs
    classes: int | None
    run: Run
    place: int
    entered: float = msgspec.field(default_factory=time.perf_counter)

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.run.cancelled


class Device:
    """Owns the thread on which one device's models run."""

    def __init__(self, name: str) -> None:
        self._batcher: Batcher[Ticket] = Batcher()  # the thread's own
        self._gathered: list[Ticket] = []  # the event loop's own
        self._arrivals: queue.SimpleQueue[list[Ticket] | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._work, name=f"device-{name}", daemon=True)

    def start(self) -> None:
        """Start the thread; call it from the event loop that will wait for answers."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self) -> None:
        """Finish the batch that runs, leave the rest, and end the thread."""
        self._arrivals.put(None)
        self._thread.join()

    def submit(
        self,
        model: LoadedModel,
        inputs: Sequence[Inputs],
        *,
        owner: str,
        cap: int,
        classes: int | None = None,
        recorder: Recorder | None = None,
        places: Sequence[int] = (),
    ) -> Run:
        """Queue inputs for a model. The run's future is done when every outcome is there.

        With `classes` outcomes are rankings of at least so many classes (0: of all), otherwise the model's outputs.
        A `recorder` is told of the inputs' way, under their `places` in its request.
        """
        assert self._loop is not None, "start() comes first"
        future = self._loop.create_future()
        outcomes: list[Outcome | None] = [None] * len(inputs)
        run = Run(outcomes=outcomes, remaining=len(inputs), future=future, recorder=recorder, places=places)
        if not inputs:
            run.future.set_result(None)
            return run
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        for place, arrays in enumerate(inputs):
            ticket = Ticket(
                lane=(id(model), classes is None, *[_kind(array) for array in arrays]),
                owner=owner,
                cap=cap,
                model=model,
                inputs=arrays,
                classes=classes,
                run=run,
                place=place,
            )
            self._gathered.append(ticket)
        return run

    def _hand_over(self) -> None:
        tickets, self._gathered = self._gathered, []
        self._arrivals.put(tickets)

    def _work(self) -> None:
        while batch := self._next():
            self._run(batch)
            # Without this the last batch would stay in memory until the next one comes.
            del batch

    def _next(self) -> list[Ticket]:
        """Wait for a batch; an empty one is the end."""
        batch: list[Ticket] = []
        while not batch:
            while not len(self._batcher) or not self._arrivals.empty():
                tickets = self._arrivals.get()
                if tickets is None:
                    return []
                for ticket in tickets:
                    self._batcher.put(ticket)
            batch = self._batcher.take()
        return batch

    def _run(self, batch: list[Ticket]) -> None:
        started = time.perf_counter()
        record = batch_record(batch)
        outcomes = predict_each(_calculation(batch, record), [ticket.inputs for ticket in batch])
        ended = time.perf_counter()
        if record is not None:
            note_batch(record, batch, started, ended)
        share_s = (ended - started) / len(batch)
        finished = []
        for ticket, outcome in zip(batch, outcomes, strict=True):
            run = ticket.run
            run.outcomes[ticket.place] = outcome
            run.queued_s += started - ticket.entered
            run.predicted_s += share_s
            run.remaining -= 1
            if run.remaining == 0:
                finished.append(run)
        if finished:
            deliver(finished, self._loop)


def _kind(array: Array | Frame) -> Hashable:
    return array.shape if isinstance(array, Frame) else (array.shape, array.dtype.num)


def _calculation(
    batch: Sequence[Ticket], record: BatchRecord | None
) -> Callable[[Sequence[Inputs]], Sequence[Outcome]]:
    """Return what the model does for a whole batch."""
    model = batch[0].model
    wanted = [ticket.classes for ticket in batch if ticket.classes is not None]
    count = (max(wanted) if all(wanted) else 0) if wanted else None
    if record is not None:
        return functools.partial(model.trace, record=record, count=count)
    return model.predict if count is None else functools.partial(model.rank, count=count)


def batch_record(batch: Sequence[Ticket]) -> BatchRecord | None:
    """Return the record of a batch that somebody traces; its level is the deepest that one of them asks for."""
    members = _recorders(batch)
    return BatchRecord(len(batch), members) if members else None


def _recorders(batch: Sequence[Ticket]) -> list[Recorder]:
    traced = [recorder for ticket in batch if (recorder := ticket.run.recorder) is not None]
    return list({id(recorder): recorder for recorder in traced}.values()) if traced else traced


def note_batch(record: BatchRecord, batch: Sequence[Ticket], started: float, ended: float) -> None:
    """Tell the recorders of a batch that ran: of their inputs' time in the queue, and on the device."""
    record.started, record.ended = record.started or started, record.ended or ended
    for recorder in _recorders(batch):
        recorder.batches.append(record)
    for ticket in batch:
        run = ticket.run
        if run.recorder is not None:
            place = run.places[ticket.place]
            run.recorder.notes += (
                (NAMES[Step.QUEUE], ticket.entered, started, place, None),
                (NAMES[Step.PREDICT], record.started, record.ended, place, record.number),
            )


def predict_each(
    predict: Callable[[Sequence[Inputs]], Sequence[Outcome]], batch: Sequence[Inputs]
) -> Sequence[Outcome]:
    """Run a batch; when it fails, run its inputs one by one, so that only the bad ones fail."""
    try:
        outputs = predict(batch)
        if len(outputs) != len(batch):
            raise ValueError(f"the model gave {len(outputs)} answers for {len(batch)} inputs")
        return outputs
    except InputFailed as failure:
        if len(batch) == 1:
            return [failure]
    except Exception:
        if len(batch) == 1:
            log.exception("a model failed on an input")
            return [PredictionFailed()]
        log.warning("a model failed on a batch of %d; its inputs are run one by one", len(batch), exc_info=True)
    return [predict_each(predict, [inputs])[0] for inputs in batch]
