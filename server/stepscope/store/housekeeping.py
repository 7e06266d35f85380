"""What nobody needs any more goes out of the database, once in a while."""

from datetime import datetime, timedelta

from stepscope.store.bodies import Bodies
from stepscope.store.changes import KEPT_S
from stepscope.store.links import Link, statement
from stepscope.store.tables import microseconds

EVERY_S = 60.0
WORKER_KEPT_S = 7 * 86_400.0
"""How long a worker is remembered that isn't seen any more."""

_TOLD = statement("DELETE FROM job_changes WHERE at_us < :before_us")
_WORKERS = statement("DELETE FROM workers WHERE seen_us < :before_us")
_SESSIONS = statement("DELETE FROM sessions WHERE expires_us <= :now_us")


def tidy(link: Link, bodies: Bodies, now: datetime) -> None:
    """Remove what is old, within a transaction."""
    if link.is_sqlite:
        link.run(_TOLD, before_us=microseconds(now - timedelta(seconds=KEPT_S)))
    link.run(_WORKERS, before_us=microseconds(now - timedelta(seconds=WORKER_KEPT_S)))
    link.run(_SESSIONS, now_us=microseconds(now))
    bodies.remove_unused(link, now)
