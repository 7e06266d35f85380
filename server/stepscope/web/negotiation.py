"""Which of an operation's answers a caller asks for (RFC 9110, section 12.5.1)."""

from collections.abc import Sequence

from stepscope.core.errors import NotAcceptable


def acceptable(accept: str, answers: Sequence[str]) -> str:
    """Return the media type that an Accept header asks for most, of equal ones the first of `answers`.

    Raises `NotAcceptable`.
    """
    if not accept.strip():
        return answers[0]
    ranges = [_weighted(part) for part in accept[:4096].split(",")]
    best = max(answers, key=lambda answer: _quality(answer, ranges))  # the first one of equals
    if _quality(best, ranges) <= 0:
        raise NotAcceptable(accept[:200], answers)
    return best


def _quality(answer: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Return the weight of the most specific range that an answer is in; 0 when it is in none."""
    weights = dict(ranges)
    for media_range in (answer, answer.partition("/")[0] + "/*", "*/*"):
        if media_range in weights:
            return weights[media_range]
    return 0.0


def _weighted(part: str) -> tuple[str, float]:
    media_range, *parameters = part.lower().split(";")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            return media_range.strip(), _number(value)
    return media_range.strip(), 1.0


def _number(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 1.0
    return weight if 0 <= weight <= 1 else 1.0
