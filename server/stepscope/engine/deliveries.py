"""Outcomes from a worker thread to those who wait for them on the event loop: one wake-up for many."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

log = logging.getLogger("stepscope.deliveries")


class Awaited(Protocol):
    """What somebody waits for until its future is done."""

    future: asyncio.Future[None]


def deliver(runs: Sequence[Awaited], loop: asyncio.AbstractEventLoop | None) -> None:
    """Wake those who wait for the runs on a loop that was there when they were submitted. Call it from any thread."""
    assert loop is not None, "runs are submitted from a loop"
    try:
        loop.call_soon_threadsafe(_resolve, runs)
    except RuntimeError:  # the loop was closed meanwhile: nobody waits
        log.debug("the outcomes of %d runs came after the end", len(runs))


def _resolve(runs: Sequence[Awaited]) -> None:
    for run in runs:
        if not run.future.done():
            run.future.set_result(None)
