"""Which inputs run together next: greedy, bounded by every member's cap, fair between owners.

The device takes what has arrived while it was busy. Only inputs of one lane (the same loaded model, the same
shapes and types) run together. Within a lane owners take turns, so that one caller's thousand inputs don't
keep another's single one waiting.
"""

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar


class Ticket(Protocol):
    """One input on its way to a device."""

    @property
    def lane(self) -> Hashable:
        """What it may share a batch with."""

    @property
    def owner(self) -> str:
        """Whose turn it uses."""

    @property
    def cap(self) -> int:
        """The largest batch that it may run in."""

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for it any more."""


TicketT = TypeVar("TicketT", bound=Ticket)


class Batcher(Generic[TicketT]):
    """The tickets that wait for one device. Not thread-safe: its owner holds the lock."""

    def __init__(self) -> None:
        self._lanes: OrderedDict[Hashable, OrderedDict[str, deque[TicketT]]] = OrderedDict()
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def put(self, ticket: TicketT) -> None:
        """Add a ticket behind those of its lane and owner."""
        lane = self._lanes.setdefault(ticket.lane, OrderedDict())
        lane.setdefault(ticket.owner, deque()).append(ticket)
        self._waiting += 1

    def take(self) -> list[TicketT]:
        """Return the next batch, without cancelled tickets; empty when nothing waits."""
        while self._lanes:
            key, lane = next(iter(self._lanes.items()))
            batch = self._take_from(lane)
            if lane:
                self._lanes.move_to_end(key)
            else:
                del self._lanes[key]
            if batch:
                return batch
        return []

    def _take_from(self, lane: OrderedDict[str, deque[TicketT]]) -> list[TicketT]:
        batch: list[TicketT] = []
        limit = 0
        full: set[str] = set()
        while lane and len(full) < len(lane):
            owner, queue = next(iter(lane.items()))
            lane.move_to_end(owner)
            if owner in full:
                continue
            ticket = queue[0]
            room = min(limit, ticket.cap) if batch else ticket.cap
            if not ticket.cancelled and len(batch) >= room:
                full.add(owner)
                continue
            self._pop(lane, owner, queue)
            if not ticket.cancelled:
                batch.append(ticket)
                limit = room
        return batch

    def _pop(self, lane: OrderedDict[str, deque[TicketT]], owner: str, queue: deque[TicketT]) -> None:
        queue.popleft()
        self._waiting -= 1
        if not queue:
            del lane[owner]
