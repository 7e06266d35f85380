"""Semantic versions and constraints on them, in the style of the Masterminds library, and cleaned names.

Versions are full or partial (`1`, `1.0`, `2.13.0+cpu`); the build part is ignored in comparisons (semver 2.0, section
10) and pre-releases stand below their release (section 11). Python's own form (`2.9.0a0`, `2.9.0.dev1`) is understood,
since installed frameworks report it.

A constraint is alternatives joined by `||`, each a list of comparators joined by commas or spaces:
`1.2` and `1.x` (any that begins so), `*`, `=`, `!=`, `>`, `<`, `>=`, `<=`, `~`, `^` and `1.2 - 1.4`.
A pre-release fits only an alternative that names a pre-release itself.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import total_ordering

_LONGEST = 256
_NUMBER = r"[0-9]{1,18}"
_SUFFIX = r"(?:-(?P<pre>[0-9A-Za-z.-]+)|[.]?(?P<kind>a|b|rc|dev|post)(?P<serial>[0-9]{0,18}))?(?:\+[0-9A-Za-z.-]*)?"
_VERSION = re.compile(rf"v?({_NUMBER})(?:\.({_NUMBER}))?(?:\.({_NUMBER}))?{_SUFFIX}")
_PART = rf"(?:{_NUMBER}|[xX*])"
_PARTIAL = rf"v?{_PART}(?:\.{_PART}){{0,2}}(?:-[0-9A-Za-z.-]+|[.]?(?:a|b|rc|dev)[0-9]{{0,18}})?(?:\+[0-9A-Za-z.-]*)?"
_HYPHEN = re.compile(rf"({_PARTIAL})\s+-\s+({_PARTIAL})")
_COMPARATOR = re.compile(rf"\s*(?:,\s*)?(!=|>=|=>|<=|=<|~>|[=><~^])?\s*({_PARTIAL})(?=[\s,]|$)")

ANY = ("", "*")
LATEST = "latest"


class VersionInvalid(ValueError):
    """The text is no semantic version."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{text[:64]!r} isn't a version such as 1.2.3")


class ConstraintInvalid(ValueError):
    """The text is no constraint on versions."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{text[:64]!r} isn't a version or a constraint such as 1.2, ^1.2 or '>=1.2, <2'")


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """A version, ordered by semver's rules. `prerelease` is empty for a release."""

    major: int
    minor: int = 0
    patch: int = 0
    prerelease: tuple[int | str, ...] = ()

    @property
    def _order(self) -> tuple[int, int, int, bool, tuple[tuple[bool, int, str], ...]]:
        # Numbers stand below texts, and fewer identifiers below more (semver, section 11.4).
        parts = tuple((False, p, "") if isinstance(p, int) else (True, 0, p) for p in self.prerelease)
        return self.major, self.minor, self.patch, not self.prerelease, parts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._order == other._order

    def __lt__(self, other: "Version") -> bool:
        return self._order < other._order

    def __hash__(self) -> int:
        return hash(self._order)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Range:
    """Versions from `low` to `high`; None is open. `outside` turns it over."""

    low: Version | None = None
    high: Version | None = None
    above_low: bool = False
    below_high: bool = True
    outside: bool = False

    def holds(self, version: Version) -> bool:
        return self._inside(version) is not self.outside

    def _inside(self, version: Version) -> bool:
        if self.low is not None and (version < self.low or (self.above_low and version == self.low)):
            return False
        return self.high is None or version < self.high or (not self.below_high and version == self.high)


_EVERYTHING = _Range()
_NOTHING = _Range(outside=True)


@dataclass(frozen=True, slots=True)
class Constraint:
    """A set of versions."""

    text: str
    _alternatives: tuple[tuple[tuple[_Range, ...], bool], ...] = field(repr=False)

    def admits(self, version: Version) -> bool:
        """Tell whether the version is one of the set."""
        return any(
            (prereleases or not version.prerelease) and all(part.holds(version) for part in ranges)
            for ranges, prereleases in self._alternatives
        )


def parse_version(text: str) -> Version:
    """Read a full or partial version. Raises `VersionInvalid`."""
    found = _VERSION.fullmatch(text.strip()) if len(text) <= _LONGEST else None
    if found is None:
        raise VersionInvalid(text)
    major, minor, patch = (int(part or 0) for part in found.group(1, 2, 3))
    return Version(major, minor, patch, _prerelease(found, text))


def _prerelease(found: re.Match[str], text: str) -> tuple[int | str, ...]:
    if kind := found["kind"]:
        return () if kind == "post" else (kind, int(found["serial"] or 0))
    parts = found["pre"].split(".") if found["pre"] else []
    if not all(parts):
        raise VersionInvalid(text)
    return tuple(int(part) if part.isdecimal() else part for part in parts)


def parse_constraint(text: str) -> Constraint:
    """Read a constraint; `*` and the empty text hold every version. Raises `ConstraintInvalid`."""
    if text.strip() in ANY:
        return Constraint(text, (((_EVERYTHING,), True),))
    if len(text) > _LONGEST:
        raise ConstraintInvalid(text)
    try:
        return Constraint(text, tuple(_alternative(part, text) for part in text.split("||")))
    except VersionInvalid as fault:
        raise ConstraintInvalid(text) from fault


def _alternative(part: str, text: str) -> tuple[tuple[_Range, ...], bool]:
    rest, at, ranges, prereleases = _HYPHEN.sub(r">=\1 <=\2", part).strip(), 0, [], False
    while found := _COMPARATOR.match(rest, at):
        wanted, precision = _partial(found[2])
        ranges.append(_range(found[1] or "=", wanted, precision))
        prereleases = prereleases or bool(wanted.prerelease)
        at = found.end()
    if not ranges or at != len(rest):
        raise ConstraintInvalid(text)
    return tuple(ranges), prereleases


def _partial(text: str) -> tuple[Version, int]:
    """Read a version with wildcards, and say how many of its numbers were given."""
    head = re.split(r"[-+]", text, maxsplit=1)[0].lstrip("v")
    if wild := re.search(r"[xX*]", head):
        given = [part for part in head[: wild.start()].split(".") if part]
        return parse_version(".".join(given) or "0"), len(given)
    version = parse_version(text)
    return version, 3 if version.prerelease else len(head.split("."))


def _lowest(major: int, minor: int = 0, patch: int = 0) -> Version:
    """The lowest version of these numbers, so that `<` it leaves its pre-releases out too."""
    return Version(major, minor, patch, (0,))


def _after(version: Version, precision: int) -> Version | None:
    """Where the versions that begin with these numbers end; None when no number is given."""
    match precision:
        case 0:
            return None
        case 1:
            return _lowest(version.major + 1)
        case 2:
            return _lowest(version.major, version.minor + 1)
        case _:
            return _lowest(version.major, version.minor, version.patch + 1)


def _caret_end(version: Version, precision: int) -> Version | None:
    """Where `^` ends: the first number that isn't zero may not change."""
    if version.major or precision < 2:
        return _after(version, min(precision, 1))
    if version.minor or precision < 3:
        return _after(version, 2)
    return _after(version, 3)


def _range(operator: str, version: Version, precision: int) -> _Range:
    whole, end = precision == 3, _after(version, precision)
    match operator:
        case "=" | "!=":
            outside = operator == "!="
            if whole:
                return _Range(low=version, high=version, below_high=False, outside=outside)
            return _Range(low=version, high=end, outside=outside)
        case ">=" | "=>":
            return _Range(low=version)
        case "<":
            return _Range(high=version) if precision else _NOTHING
        case ">":
            if whole:
                return _Range(low=version, above_low=True)
            return _Range(low=Version(end.major, end.minor, end.patch)) if end else _NOTHING
        case "<=" | "=<":
            return _Range(high=version, below_high=False) if whole else _Range(high=end)
        case "^":
            return _Range(low=version, high=_caret_end(version, precision))
        case _:
            return _Range(low=version, high=_after(version, min(precision, 2)))


def matching(versions: Iterable[str], wanted: str) -> list[str]:
    """Return the versions that fit, oldest first; `latest` keeps only the newest.

    Raises `ConstraintInvalid`, and `VersionInvalid` for a bad version in the list.
    """
    ordered = sorted(versions, key=parse_version)
    if wanted.strip().lower() == LATEST:
        newest = _newest(ordered)
        return [] if newest is None else [newest]
    constraint = parse_constraint(wanted)
    return [version for version in ordered if constraint.admits(parse_version(version))]


def choose(versions: Iterable[str], wanted: str) -> str | None:
    """Return the newest version that fits, a release before any pre-release where `wanted` leaves it open."""
    fitting = matching(versions, wanted)
    return _newest(fitting) if wanted.strip() in ANY else fitting[-1] if fitting else None


def _newest(ordered: list[str]) -> str | None:
    releases = [version for version in ordered if not parse_version(version).prerelease]
    best = releases or ordered
    return best[-1] if best else None


def clean(name: str) -> str:
    """Return the name as names are compared: lower case, with `_` for spaces and dashes."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")
