"""A job: a predict request that outlives its connection, and this program."""

import json
import math
import random
import time
from collections.abc import Generator
from contextlib import closing
from datetime import datetime

from pydantic import ValidationError
from stepscope_generated import JobsApi
from stepscope_generated import models as wire

from stepscope_client.errors import AnswerUnreadable, JobFailed, Overloaded, ServerUnreachable
from stepscope_client.events import read_events
from stepscope_client.results import Result, read_result
from stepscope_client.transport import Transport
from stepscope_client.waiting import Watcher, shown

ENDED = ("done", "failed", "lapsed", "cancelled")
PATIENCE_S = 120.0
"""How long a server may be away while one of its jobs is waited for."""
PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0


class Job:
    """A job, as it was when something was heard of it last: `refresh` asks again."""

    def __init__(self, transport: Transport, known: wire.Job) -> None:
        self._transport = transport
        self._api = JobsApi(transport.api)
        self._known = known
        self._last_event = ""

    @property
    def id(self) -> str:
        """The job's id, by which `Client.job` finds it again."""
        return self._known.id

    @property
    def state(self) -> str:
        """One of queued, processing, done, failed, lapsed and cancelled."""
        return self._known.state.value

    @property
    def has_ended(self) -> bool:
        """Whether nothing more happens to it."""
        return self.state in ENDED

    @property
    def percent(self) -> float:
        """How much is done."""
        return float(self._known.percent)

    @property
    def step(self) -> str:
        """What is done at the moment."""
        return self._known.step or ""

    @property
    def queue_place(self) -> int:
        """Its place in the queue: 1 is next, 0 is not in the queue."""
        return self._known.queue_place or 0

    @property
    def estimate_s(self) -> float | None:
        """How long until it has ended, as far as that can be told."""
        estimate_ms = self._known.estimate_in_ms
        return None if estimate_ms is None else estimate_ms / 1000

    @property
    def error(self) -> str:
        """Why it failed."""
        return self._known.error or ""

    @property
    def attempts(self) -> int:
        """How often it was begun."""
        return self._known.attempts

    @property
    def created_at(self) -> datetime:
        """When the server took it."""
        return self._known.created_at

    @property
    def trace_id(self) -> str:
        """The trace of all that happens for it."""
        return self._known.trace_id.id or ""

    def refresh(self) -> "Job":
        """Ask the server how it is. Raises `NotFound` when it was forgotten."""
        self._known = self._transport.send(self._api.get_job_with_http_info, self.id).data
        return self

    def wait(
        self, *, progress: bool | Watcher = False, timeout_s: float | None = None, patience_s: float = PATIENCE_S
    ) -> "Job":
        """Wait until it has ended, however it does. Raises `TimeoutError` after `timeout_s`.

        `progress` shows a bar on the standard error, or is called with the job whenever something is heard of it. A
        server that is away is waited for, up to `patience_s` at a time: its jobs outlive it.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        with shown(progress) as show:
            show(self)
            while not self.has_ended:
                self._listen(show, until)
                if not self.has_ended:
                    self._ask(until, patience_s)
                    show(self)
        return self

    def result(self, *, timeout_s: float | None = None) -> Result:
        """Wait until it has ended, and return what the predict request would have given.

        Raises `JobFailed` when it ended otherwise than done, `TimeoutError` after `timeout_s`.
        """
        self.wait(timeout_s=timeout_s)
        if self.state != "done":
            raise JobFailed(self.id, self.state, self.error)
        return read_result(self._transport.send(self._api.get_job_result_with_http_info, self.id).data)

    def cancel(self) -> "Job":
        """End it. One that has ended stays as it is."""
        self._known = self._transport.send(self._api.cancel_job_with_http_info, self.id).data
        return self

    def __repr__(self) -> str:
        return f"<Job {self.id}, {self.state}, {self.percent:g} %>"

    def _listen(self, show: Watcher, until: float | None) -> None:
        """Follow its events as long as they come."""
        try:
            with closing(self._events(until)) as events:
                for known in events:
                    self._known = known
                    show(self)
        except (ServerUnreachable, AnswerUnreadable, Overloaded):
            return  # the server says how it is when it is asked

    def _events(self, until: float | None) -> Generator[wire.Job]:
        headers = {"Last-Event-ID": self._last_event} if self._last_event else {}
        left_s = math.inf if until is None else max(0.01, until - time.monotonic())
        with self._transport.stream(f"/api/jobs/{self.id}/events", headers, left_s) as chunks:
            for event in read_events(chunks):
                _check(until)
                self._last_event = event.id
                try:
                    yield wire.Job.from_dict(json.loads(event.data))  # type: ignore[misc]
                except (ValueError, ValidationError) as fault:
                    raise AnswerUnreadable("An event isn't as the contract says.") from fault

    def _ask(self, until: float | None, patience_s: float) -> None:
        """Ask how it is, again and again while the server is away."""
        gone_at = time.monotonic()
        pause_s = PAUSE_S
        while True:
            _check(until)
            time.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - so that not all come back together
            try:
                self.refresh()
                return
            except (ServerUnreachable, Overloaded):
                if time.monotonic() - gone_at > patience_s:
                    raise
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def _check(until: float | None) -> None:
    if until is not None and time.monotonic() >= until:
        raise TimeoutError("The job hasn't ended yet.")
