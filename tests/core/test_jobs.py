"""States and transitions of jobs, and whose turn it is."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from stepscope.core.jobs import (
    TRANSITIONS,
    Ending,
    Job,
    JobEvent,
    JobState,
    after,
    ended,
    fair_turn,
    released,
    states_before,
    timed,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
JOB = Job(
    id="j", owner="ada", kind="echo", created_at=NOW, expires_at=NOW + timedelta(seconds=100), lease_s=10, keep_s=50
)
HELD = JOB.claimed("w", NOW)
FINAL = [state for state in JobState if state.is_final]


def seconds(count):
    return NOW + timedelta(seconds=count)


def test_final_states_never_change():
    assert [after(state, event) for state, event in product(FINAL, JobEvent)] == [None] * len(FINAL) * len(JobEvent)


def test_every_state_is_reached_and_every_event_does_something():
    assert {JobState.QUEUED, *TRANSITIONS.values()} == set(JobState)
    assert {event for _, event in TRANSITIONS} == set(JobEvent)
    assert all(after(state, event) is not None for event in JobEvent for state in states_before(event))


def test_a_claim_counts_as_an_attempt():
    assert (HELD.state, HELD.attempts, HELD.worker) == (JobState.PROCESSING, 1, "w")
    with pytest.raises(KeyError):
        HELD.claimed("other", NOW)


def test_what_the_time_does():
    assert JOB.overdue(seconds(99)) is None
    assert JOB.overdue(seconds(100)) is JobEvent.EXPIRE
    assert HELD.overdue(seconds(9)) is None
    assert HELD.overdue(seconds(10)) is JobEvent.LOSE
    assert replace(HELD, attempts=3).overdue(seconds(10)) is JobEvent.GIVE_UP
    assert HELD.overdue(seconds(100)) is JobEvent.EXPIRE
    assert replace(HELD, state=JobState.DONE).overdue(seconds(200)) is None


def test_when_the_time_does_something_next():
    assert JOB.due_at == seconds(100)
    assert replace(JOB, start_by=seconds(5)).due_at == seconds(5)
    lost = timed(replace(HELD, start_by=seconds(5), lease_until=seconds(10)), seconds(12))
    assert lost is not None
    assert lost.state is JobState.QUEUED
    assert lost.due_at == seconds(17)  # it waits anew, as long as at first
    assert HELD.due_at == seconds(10)
    assert replace(HELD, lease_until=seconds(200)).due_at == seconds(100)
    assert replace(HELD, state=JobState.DONE, ended_at=seconds(20)).due_at == seconds(70)


@pytest.mark.parametrize("job", [JOB, HELD, replace(JOB, start_by=seconds(5)), replace(HELD, attempts=3)])
def test_nothing_happens_before_a_job_is_due_and_something_then(job):
    assert timed(job, job.due_at - timedelta(microseconds=1)) is None
    assert timed(job, job.due_at) is not None


def test_what_was_taken_is_put_back_as_if_it_had_not():
    assert released(HELD, "w") == JOB
    assert released(HELD, "other") is None
    assert released(JOB, "") is None


def ending(event, worker="w"):
    return Ending(event=event, at=seconds(5), worker=worker)


def state_after(job, ending):
    changed = ended(job, ending)
    return changed and changed.state


def test_a_result_counts_from_whoever_did_the_work():
    for worker in ("w", "one that had lost it"):
        assert state_after(HELD, ending(JobEvent.FINISH, worker)) is JobState.DONE
    assert state_after(JOB, ending(JobEvent.FINISH)) is JobState.DONE


def test_a_failure_counts_only_from_the_holder():
    assert state_after(HELD, ending(JobEvent.FAIL)) is JobState.FAILED
    assert state_after(HELD, ending(JobEvent.FAIL, "one that had lost it")) is None


@pytest.mark.parametrize("state", FINAL)
def test_what_comes_after_the_end_changes_nothing(state):
    for event in (JobEvent.FINISH, JobEvent.FAIL, JobEvent.CANCEL):
        assert ended(replace(HELD, state=state), ending(event)) is None


def served(arrivals):
    """Return the owners in the order in which they are served, for owners' jobs that arrive in an order."""
    last: dict[str, int] = {}
    waiting: list[tuple[int, int, str]] = []
    for number, owner in enumerate(arrivals):
        first = min(waiting)[0] if waiting else None
        last[owner] = fair_turn(last.get(owner, 0), first, max(last.values(), default=0))
        waiting.append((last[owner], number, owner))
    return "".join(owner for _, _, owner in sorted(waiting))


def test_owners_take_turns():
    assert served("aaaab") == "abaaa"
    assert served("aaabbbc") == "abcabab"


def test_who_was_served_before_is_not_put_back_for_it():
    # 1,000 jobs of a were served; then b comes, and a again.
    b = fair_turn(0, None, 1000)
    a = fair_turn(1000, b, 1000)
    assert (b, a) == (1000, 1001)
    assert fair_turn(b, b, 1001) == 1001
