"""Work that waits its turn: one job after another, on one thread of low priority that ends when nothing is left."""

import atexit
import contextlib
import logging
import os
import threading
from collections import deque
from collections.abc import Callable

log = logging.getLogger(__name__)

NICENESS = 10
_EXIT_S = 10.0


class Job:
    """A job that can be called off. `cancelled` is looked at by the work itself."""

    def __init__(self, work: Callable[["Job"], None]) -> None:
        self._work: Callable[[Job], None] | None = work
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        self._done = threading.Event()

    @property
    def cancelled(self) -> bool:
        """Whether nobody wants the result any more."""
        return self._cancelled.is_set()

    def cancel(self, wait_s: float) -> bool:
        """Call it off; if it is running, wait until it has stopped. Says whether it has."""
        self._cancelled.set()
        with self._lock:
            if self._work is not None:  # its turn hasn't come; what it holds on to may be a model
                self._work = None
                self._done.set()
        return self._done.wait(wait_s)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it is over; says whether it is."""
        return self._done.wait(timeout_s)

    def run(self) -> None:
        """Do the work; whatever goes wrong with it is logged."""
        with self._lock:
            work, self._work = self._work, None
        try:
            if work is not None:
                work(self)
        except Exception:
            log.exception("work in the background failed")
        finally:
            del work
            self._done.set()


class Background:
    """Runs jobs in the order in which they came."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._jobs: deque[Job] = deque()
        self._running: Job | None = None
        self._thread: threading.Thread | None = None

    def submit(self, work: Callable[[Job], None]) -> Job:
        """Queue work."""
        job = Job(work)
        with self._lock:
            self._jobs.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                # A daemon that is still in torch's C++ when the interpreter goes would take the process with it.
                atexit.register(self._stop)
                self._thread.start()
        return job

    def _work(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # Linux has priorities by thread; others may refuse
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while (job := self._next()) is not None:
            job.run()
            # Else the last job would stay in memory.
            del job

    def _next(self) -> Job | None:
        with self._lock:
            self._running = self._jobs.popleft() if self._jobs else None
            if self._running is None:
                self._thread = None
                atexit.unregister(self._stop)
            return self._running

    def _stop(self) -> None:
        with self._lock:
            jobs = [*self._jobs, *([self._running] if self._running else [])]
            self._jobs.clear()
        for job in jobs:
            job.cancel(wait_s=0)
        if jobs and not jobs[-1].wait(_EXIT_S):
            log.warning("work in the background didn't stop within %g s", _EXIT_S)
