"""What is shown while a job is waited for."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from stepscope_client.jobs import Job

Watcher = Callable[["Job"], None]
"""Is called with a job whenever something is heard of it."""


@contextmanager
def shown(progress: bool | Watcher) -> Iterator[Watcher]:
    """Give what shows a job's progress: nothing, a bar on the standard error, or the caller's own function."""
    if callable(progress):
        yield progress
    elif progress:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=Console(file=sys.stderr)) as bar:
            task = bar.add_task("job", total=100.0)
            yield lambda job: bar.update(task, completed=job.percent, description=words(job))
    else:
        yield lambda _: None


def words(job: "Job") -> str:
    """Say where a job is."""
    if job.state == "queued":
        return f"queued, place {job.queue_place}" if job.queue_place else "queued"
    return job.step if job.state == "processing" and job.step else job.state
