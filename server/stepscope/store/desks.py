"""Threads that work on a database, each with a connection of its own, and take all that waits for them together.

So requests that come at the same time share one transaction: a commit waits for the disk, and waits as long for one
as for a hundred.
"""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from stepscope.core.errors import StoreUnavailable
from stepscope.store.database import ANSWER_S, Database, unavailable
from stepscope.store.links import AWAY, REFUSED, Link, connect

log = logging.getLogger("stepscope.store")

MOST = 256
"""Requests that share a transaction at most."""
LEFT_S = 60.0
"""How long a transaction may take, or hang, at whose end its callers have gone."""
ATTEMPTS = 2
"""How often a request is tried alone that another process came between."""

Late = Callable[[Any], None]
"""Takes an answer that came after its caller had gone, in the event loop."""
Perform = Callable[[Link, Sequence[Any]], Sequence[Any]]
"""Does several requests over a connection; an error among the answers is one request's own."""


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    request: Any
    answer: "asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop
    late: Late | None


class Desk:
    """A thread that does requests of one kind: those that write, in transactions, or those that read."""

    def __init__(self, database: Database, perform: Perform, *, writes: bool) -> None:
        self._database = database
        self._perform = perform
        self._writes = writes
        self._inbox: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._link: Link | None = None
        self._away = False
        self._committing = False
        self._thread: threading.Thread | None = None
        self._left_s = -LEFT_S

    @property
    def left(self) -> bool:
        """Whether a caller left lately without an answer: what it asked for may have been done all the same."""
        return time.monotonic() - self._left_s < LEFT_S

    def start(self) -> None:
        """Begin to work."""
        self._thread = threading.Thread(
            target=self._work, name=f"store-{'writer' if self._writes else 'reader'}", daemon=True
        )
        self._thread.start()

    async def stop(self) -> None:
        """Finish what was asked for, and end."""
        if self._thread is not None:
            self._inbox.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    async def ask(self, request: Any, late: Late | None = None) -> Any:
        """Have a request done. Raises `StoreUnavailable`, after some seconds whatever the database does.

        What wasn't begun by then won't be; what was, and is done after all, is told to `late`.
        """
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        self._inbox.put(_Asked(request, answer, loop, late))
        timer = loop.call_later(ANSWER_S, self._leave, answer)  # costs less than asyncio.timeout
        try:
            return await answer
        finally:
            timer.cancel()

    def _leave(self, answer: "asyncio.Future[Any]") -> None:
        """Let a caller go that has waited long enough."""
        if not answer.done():
            self._left_s = time.monotonic()
            answer.set_exception(unavailable(TimeoutError(f"no answer within {ANSWER_S:g} s")))

    def _work(self) -> None:
        while (asked := self._next()) is not None:
            wanted = [each for each in asked if not each.answer.done()]
            if wanted:
                answers = self._do([each.request for each in wanted])
                _hand_out(wanted, answers)
        self._drop()

    def _next(self) -> list[_Asked] | None:
        """Wait for a request, and take with it what has come besides."""
        first = self._inbox.get()
        asked = []
        while first is not None:
            asked.append(first)
            if len(asked) == MOST or self._inbox.empty():
                return asked
            first = self._inbox.get()
        if asked:
            self._inbox.put(None)  # for the next time
        return asked or None

    def _do(self, requests: Sequence[Any]) -> Sequence[Any]:
        was_open = self._link is not None and not self._link.is_sqlite
        try:
            answers = self._transact(requests)
        except AWAY as fault:
            if not isinstance(fault, REFUSED):
                if was_open and not self._committing:
                    # Nothing was changed, and the database may only have been started again since the last time.
                    self._drop()
                    return self._do(requests)
                return self._lose(fault, len(requests))
        except Exception as fault:
            log.debug("requests can't be done together: %r", fault)
        else:
            self._away = False
            return answers
        # One of them isn't as it should be: it fails alone.
        return [self._do_alone(request) for request in requests]

    def _do_alone(self, request: Any) -> Any:
        for attempt in range(ATTEMPTS):
            try:
                return self._transact([request])[0]
            except AWAY as fault:
                if not isinstance(fault, REFUSED):
                    return self._lose(fault, 1)[0]
                last: Exception = fault
            except Exception as fault:
                last = fault
            log.debug("a request failed (%d): %r", attempt, last)
        return last

    def _transact(self, requests: Sequence[Any]) -> Sequence[Any]:
        self._committing = False
        link = self._ready()
        try:
            answers = self._perform(link, requests)
            if self._writes:
                self._committing = True
                link.commit()
        except BaseException:
            if self._writes:
                self._undo(link)
            raise
        return answers

    def _ready(self) -> Link:
        """Return a connection, in a transaction if it is to write."""
        if self._link is None:
            self._link = connect(self._database)
        self._link.compare_clocks()
        if self._writes:
            self._link.begin()
        return self._link

    def _undo(self, link: Link) -> None:
        try:
            usable = link.rollback()
        except AWAY:
            usable = False
        if not usable:
            self._drop()

    def _lose(self, fault: Exception, count: int) -> Sequence[StoreUnavailable]:
        self._drop()
        if not self._away:
            log.warning("the jobs' store doesn't answer: %s: %s", type(fault).__name__, fault)
        self._away = True
        return [_caused(fault) for _ in range(count)]

    def _drop(self) -> None:
        if self._link is not None:
            try:
                self._link.close()
            except AWAY:
                log.debug("a connection can't be closed")
            self._link = None


def _caused(fault: Exception) -> StoreUnavailable:
    error = StoreUnavailable()
    error.__cause__ = fault
    return error


def _hand_out(asked: Sequence[_Asked], answers: Sequence[Any]) -> None:
    """Give each caller its answer; one wake-up for all of a loop."""
    loop = asked[0].loop
    try:
        loop.call_soon_threadsafe(_answer, asked, answers)
    except RuntimeError:
        log.debug("nobody waits for answers any more")


def _answer(asked: Sequence[_Asked], answers: Sequence[Any]) -> None:
    for each, answer in zip(asked, answers, strict=True):
        if each.answer.done():
            if each.late is not None and not isinstance(answer, Exception):
                each.late(answer)
            continue
        if isinstance(answer, Exception):
            each.answer.set_exception(answer)
        else:
            each.answer.set_result(answer)
