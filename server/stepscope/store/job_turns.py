"""Whose turn it is in the queues that jobs are added to: read once for a transaction, and written once."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from stepscope.core.jobs import NewJob, fair_turn
from stepscope.store import job_rows
from stepscope.store.links import Link, statement

_LINES = statement("SELECT DISTINCT kind, rank FROM lanes")
# An owner whose last turn is over stands as one that never had any. The last turn of a line stays.
_OVER = statement(
    "DELETE FROM lanes WHERE kind = :kind AND rank = :rank AND turn < COALESCE("
    "(SELECT turn FROM jobs WHERE kind = :kind AND rank = :rank AND state = 'queued' ORDER BY turn LIMIT 1), :last) "
    "AND turn < :last"
)

Line = tuple[str, int]
"""A queue's kind, and a rank in it."""


@dataclass(slots=True)
class _Turns:
    first: int | None
    last: int
    own: dict[str, int]
    given: dict[str, int] = field(default_factory=dict)


class Turns:
    """The turns that are given within one transaction."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._lines: dict[Line, _Turns] = {}

    def read(self, adds: Sequence[NewJob]) -> None:
        """Read what the turns of new jobs depend on."""
        owners = defaultdict(set)
        for new in adds:
            owners[_line(new)].add(new.owner)
        for line, names in owners.items():
            self._lines[line] = self._read(line, sorted(names))

    def next(self, new: NewJob) -> int:
        """Give a job its turn."""
        turns = self._lines[_line(new)]
        turn = fair_turn(turns.own.get(new.owner, 0), turns.first, turns.last)
        turns.own[new.owner] = turns.given[new.owner] = turn
        turns.last = max(turns.last, turn)
        turns.first = turn if turns.first is None else min(turns.first, turn)
        return turn

    def write(self) -> None:
        """Write the turns that were given."""
        rows = [
            {"kind": kind, "rank": rank, "owner": owner, "turn": turn}
            for (kind, rank), turns in self._lines.items()
            for owner, turn in sorted(turns.given.items())
        ]
        if rows:
            self._link.many(job_rows.KEEP_TURN, rows)

    def _read(self, line: Line, owners: list[str]) -> _Turns:
        kind, rank = line
        turns = _Turns(None, 0, {})
        for what, owner, turn in self._link.rows(job_rows.TURNS, kind=kind, rank=rank, owners=owners):
            if what == "first":
                turns.first = turn
            elif what == "last":
                turns.last = turn
            else:
                turns.own[owner] = turn
        return turns


def tidy(link: Link) -> None:
    """Forget the turns that count no more, within a transaction that has hold of all queues."""
    for kind, rank in link.rows(_LINES):
        [(last,)] = link.rows(job_rows.LAST_TURN, kind=kind, rank=rank)
        link.run(_OVER, kind=kind, rank=rank, last=last)


def _line(new: NewJob) -> Line:
    return new.kind, -new.priority
