from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepscope.core.versions import (
    ConstraintInvalid,
    Version,
    VersionInvalid,
    choose,
    clean,
    matching,
    parse_constraint,
    parse_version,
)

numbers = st.integers(0, 30)
prereleases = st.lists(st.one_of(numbers, st.sampled_from(["alpha", "beta", "rc", "x-1"])), max_size=3).map(tuple)
versions = st.builds(Version, numbers, numbers, numbers, prereleases)
releases = st.builds(Version, numbers, numbers, numbers)


def written(version: Version) -> str:
    head = f"{version.major}.{version.minor}.{version.patch}"
    return f"{head}-{'.'.join(map(str, version.prerelease))}" if version.prerelease else head


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("1", Version(1)),
        ("1.0", Version(1)),
        ("v1.2.3", Version(1, 2, 3)),
        ("2.13.0+cpu", Version(2, 13)),
        ("1.2.3-rc.1", Version(1, 2, 3, ("rc", 1))),
        ("2.9.0a0+git1234", Version(2, 9, 0, ("a", 0))),
        ("2.9.0.dev20250101", Version(2, 9, 0, ("dev", 20250101))),
        ("2.9.0.post1", Version(2, 9)),
    ],
)
def test_versions_are_read_as_people_and_frameworks_write_them(text: str, version: Version) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize("text", ["", "banana", "1.2.3.4", "1..2", "1.2-", "1.2-a..b", "-1", "1.2.3 ", "9" * 5000])
def test_what_is_no_version_is_refused(text: str) -> None:
    if text.strip() != text:
        assert parse_version(text) == parse_version(text.strip())
        return
    with pytest.raises(VersionInvalid):
        parse_version(text)


def test_prereleases_are_ordered_as_semver_says() -> None:
    ordered = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11"]
    ordered += ["1.0.0-rc.1", "1.0.0"]
    assert all(parse_version(a) < parse_version(b) for a, b in pairwise(ordered))


@pytest.mark.parametrize(
    ("constraint", "inside", "outside"),
    [
        ("1.2", "1.2.0 1.2.9", "1.3.0 1.1.9 1.2.0-beta"),
        ("=1.2", "1.2.0 1.2.9", "1.3.0"),
        ("1.x", "1.0.0 1.9.9", "2.0.0 0.9.0"),
        ("1.2.*", "1.2.7", "1.3.0"),
        ("*", "0.0.1 9.9.9 1.0.0-a", ""),
        ("1.2.3", "1.2.3 1.2.3+local", "1.2.4"),
        ("!=1.2", "1.1.0 1.3.0", "1.2.0 1.2.5"),
        ("!=1.2.3", "1.2.2 1.2.4", "1.2.3"),
        (">1.2", "1.3.0", "1.2.9 1.2.0"),
        (">1.2.3", "1.2.4", "1.2.3"),
        (">=1.2", "1.2.0", "1.1.9"),
        ("<1.2", "1.1.9", "1.2.0"),
        ("<=1.2", "1.2.9", "1.3.0"),
        ("<=1.2.3", "1.2.3", "1.2.4"),
        ("~1.2.3", "1.2.3 1.2.9", "1.2.2 1.3.0"),
        ("~1.2", "1.2.0 1.2.9", "1.3.0"),
        ("~1", "1.0.0 1.9.0", "2.0.0"),
        ("^1.2.3", "1.2.3 1.9.0", "1.2.2 2.0.0"),
        ("^0.2.3", "0.2.3 0.2.9", "0.3.0"),
        ("^0.0.3", "0.0.3", "0.0.4 0.0.2"),
        ("^0.1", "0.1.0 0.1.9", "0.2.0"),
        ("^0", "0.9.0", "1.0.0"),
        ("1.2 - 1.4.5", "1.2.0 1.4.5", "1.4.6 1.1.9"),
        ("1.2 - 1.4", "1.4.9", "1.5.0"),
        (">=1.12.0, <2.0", "1.12.0 1.99.0", "2.0.0 1.11.9"),
        (">= 2.0.0 < 3.0.0", "2.13.0+cpu", "3.0.0 2.13.0-rc.1"),
        ("1.2 || >=3", "1.2.1 3.0.0", "2.0.0"),
        (">=1.2.0-beta, <2", "1.2.0-beta.2 1.2.0", "1.2.0-alpha 2.0.0"),
        ("^1.2.0-0", "1.2.0-a 1.9.0", "2.0.0-a"),
        (">*", "", "0.0.0 1.0.0"),
    ],
)
def test_constraints_hold_what_they_say(constraint: str, inside: str, outside: str) -> None:
    parsed = parse_constraint(constraint)
    assert [text for text in inside.split() if not parsed.admits(parse_version(text))] == []
    assert [text for text in outside.split() if parsed.admits(parse_version(text))] == []


@pytest.mark.parametrize("text", ["banana", "1.2 ||", ">", "1.2.3.4", "||", ">=1 foo", "1..2", "^", "1 -", "9" * 5000])
def test_what_is_no_constraint_is_refused(text: str) -> None:
    with pytest.raises(ConstraintInvalid):
        parse_constraint(text)


def test_latest_is_the_newest_release() -> None:
    known = ["1.9.0", "1.10.0", "2.0.0-rc.1", "1.2.0"]
    assert choose(known, "latest") == "1.10.0"
    assert choose(known, "*") == "1.10.0"
    assert choose(known, "") == "1.10.0"
    assert choose(["2.0.0-rc.1", "2.0.0-rc.2"], "latest") == "2.0.0-rc.2"
    assert choose([], "latest") is None
    assert choose(known, "^1.2") == "1.10.0"
    assert choose(known, "3") is None
    assert matching(known, "1") == ["1.2.0", "1.9.0", "1.10.0"]


def test_names_are_compared_cleaned() -> None:
    assert clean(" Garden-Bird Net") == "garden_bird_net"


@given(versions, versions, versions)
def test_versions_have_one_order(a: Version, b: Version, c: Version) -> None:
    assert (a < b) + (b < a) + (a == b) == 1
    if a <= b <= c:
        assert a <= c
    if a == b:
        assert hash(a) == hash(b)


@given(versions)
def test_a_version_survives_being_written(version: Version) -> None:
    assert parse_version(written(version)) == version
    assert parse_version(written(version) + "+build.5") == version
    assert parse_constraint(written(version)).admits(version)


@given(releases, releases)
def test_comparators_agree_with_the_order(a: Version, b: Version) -> None:
    text = written(b)
    assert parse_constraint(f"<{text}").admits(a) == (a < b)
    assert parse_constraint(f"<={text}").admits(a) == (a <= b)
    assert parse_constraint(f">{text}").admits(a) == (a > b)
    assert parse_constraint(f">={text}").admits(a) == (a >= b)
    assert parse_constraint(f"!={text}").admits(a) == (a != b)
    assert parse_constraint(f"<{text} || >{text}").admits(a) == (a != b)
    assert parse_constraint(f">={text}, <={text}").admits(a) == (a == b)


@given(releases, releases)
def test_tilde_lies_within_caret_unless_the_major_is_zero(a: Version, b: Version) -> None:
    text = written(b)
    if b.major and parse_constraint(f"~{text}").admits(a):
        assert parse_constraint(f"^{text}").admits(a)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_constraint(text)
    except ConstraintInvalid:
        return
