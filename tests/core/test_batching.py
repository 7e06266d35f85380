"""The batcher: every ticket once, one lane at a time, no cap exceeded, owners in turn."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from stepscope.core.batching import Batcher


@dataclass(frozen=True)
class Ticket:
    lane: str
    owner: str
    cap: int
    cancelled: bool = False
    number: int = 0


tickets = st.lists(
    st.builds(
        Ticket,
        lane=st.sampled_from("ab"),
        owner=st.sampled_from("xyz"),
        cap=st.integers(1, 5),
        cancelled=st.booleans(),
    ),
    max_size=40,
)


def drain(batcher):
    batches = []
    while batch := batcher.take():
        batches.append(batch)
    return batches


@given(tickets)
def test_every_live_ticket_comes_exactly_once(given_tickets):
    numbered = [Ticket(t.lane, t.owner, t.cap, t.cancelled, n) for n, t in enumerate(given_tickets)]
    batcher: Batcher[Ticket] = Batcher()
    for ticket in numbered:
        batcher.put(ticket)
    batches = drain(batcher)
    taken = sorted(ticket.number for batch in batches for ticket in batch)
    assert taken == [ticket.number for ticket in numbered if not ticket.cancelled]
    assert len(batcher) == 0
    for batch in batches:
        assert len({ticket.lane for ticket in batch}) == 1
        assert len(batch) <= min(ticket.cap for ticket in batch)


@given(tickets)
def test_an_owners_tickets_keep_their_order(given_tickets):
    numbered = [Ticket(t.lane, t.owner, t.cap, False, n) for n, t in enumerate(given_tickets)]
    batcher: Batcher[Ticket] = Batcher()
    for ticket in numbered:
        batcher.put(ticket)
    taken = [ticket for batch in drain(batcher) for ticket in batch]
    for lane in "ab":
        for owner in "xyz":
            mine = [ticket.number for ticket in taken if (ticket.lane, ticket.owner) == (lane, owner)]
            assert mine == sorted(mine)


def test_a_single_input_doesnt_wait_for_anothers_thousand():
    batcher: Batcher[Ticket] = Batcher()
    for number in range(1000):
        batcher.put(Ticket("a", "greedy", 8, number=number))
    batcher.put(Ticket("a", "small", 8, number=1000))
    assert any(ticket.owner == "small" for ticket in batcher.take())


def test_lanes_take_turns():
    batcher: Batcher[Ticket] = Batcher()
    for number in range(20):
        batcher.put(Ticket("a", "x", 4, number=number))
    batcher.put(Ticket("b", "x", 4, number=99))
    assert [batcher.take()[0].lane for _ in range(3)] == ["a", "b", "a"]
