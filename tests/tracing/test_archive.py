"""The archive keeps what it is given across restarts, within its bounds, and for its owner alone."""

import pytest

from stepscope.core.spans import TraceQuery
from stepscope.tracing.archive import Archive, ArchiveLimits
from stepscope.tracing.recordings import pack, recording_of, unpack
from tests.tracing.spans import EPOCH_NS, TRACE, recorder


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "traces.sqlite"


def put(archive, *recorders, now_s=0.0):
    archive.put([recording_of(each, {}) for each in recorders], {("anonymous", "stepscope"): {"decode"}}, now_s)


def kept(archive, count):
    return [number for number in range(1, count + 1) if archive.parts(f"{number:x}", "anonymous")]


def test_a_part_is_the_same_after_packing():
    for inputs in (1, 500):
        part = recording_of(recorder(inputs=inputs), {})
        assert unpack(pack(part)) == part


def test_traces_are_kept_across_restarts(path):
    first = Archive(path, ArchiveLimits())
    put(first, recorder(trace=TRACE))
    first.close()
    second = Archive(path, ArchiveLimits())
    assert len(second.parts(TRACE, "anonymous")) == 1
    assert second.names("anonymous") == {"stepscope": ["decode"]}


@pytest.mark.parametrize("form", [f"{7:032x}", f"{7:016x}", "7", f"{7:032X}"])
def test_an_id_is_found_in_every_form(path, form):
    archive = Archive(path, ArchiveLimits())
    put(archive, recorder(7))
    assert archive.parts(form, "anonymous")


def test_another_owner_sees_nothing(path):
    archive = Archive(path, ArchiveLimits())
    put(archive, recorder(1))
    assert archive.parts("1", "somebody") == []
    assert archive.names("somebody") == {}
    assert list(archive.search(TraceQuery(), "somebody")) == []


def test_the_newest_are_kept(path):
    archive = Archive(path, ArchiveLimits(requests=3))
    for number in range(1, 8):
        put(archive, recorder(number))
    archive.purge()
    assert kept(archive, 7) == [5, 6, 7]


def test_old_ones_are_dropped(path):
    archive = Archive(path, ArchiveLimits(age_s=100.0))
    for number in range(1, 11):
        put(archive, recorder(number), now_s=1000.0 + number)
    archive.purge(1104.5)
    assert kept(archive, 10) == [5, 6, 7, 8, 9, 10]
    archive.purge(2000.0)
    assert kept(archive, 10) == []


def test_bytes_are_bounded(path):
    size = len(pack(recording_of(recorder(1), {})))
    archive = Archive(path, ArchiveLimits(size_bytes=round(2.5 * size)))
    for number in range(1, 8):
        put(archive, recorder(number))
    archive.purge()
    assert kept(archive, 7) == [5, 6, 7]


def test_the_newest_are_found_first_and_within_their_time(path):
    archive = Archive(path, ArchiveLimits())
    put(archive, *[recorder(number) for number in range(1, 6)])
    found = [parts[0].trace_id for parts in archive.search(TraceQuery(), "anonymous")]
    assert found == [f"{number:032x}" for number in (5, 4, 3, 2, 1)]
    query = TraceQuery(start_ns=EPOCH_NS + 12 * 10**9, end_ns=EPOCH_NS + 13 * 10**9)
    assert [parts[0].trace_id[-1] for parts in archive.search(query, "anonymous")] == ["3", "2"]


def test_a_file_of_something_else_is_set_aside(path):
    path.parent.mkdir()
    path.write_bytes(b"this is no database" * 100)
    archive = Archive(path, ArchiveLimits())
    put(archive, recorder(1))
    assert kept(archive, 1) == [1]
    assert path.with_name("traces.sqlite.unreadable").exists()


def test_without_a_place_traces_are_kept_in_memory(tmp_path):
    (tmp_path / "file").write_text("no folder")
    archive = Archive(tmp_path / "file" / "traces.sqlite", ArchiveLimits())
    put(archive, recorder(1))
    assert kept(archive, 1) == [1]
