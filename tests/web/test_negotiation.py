"""Accept headers (RFC 9110, section 12.5.1)."""

import pytest

from stepscope.core.errors import NotAcceptable
from stepscope.web.negotiation import acceptable

JSON, OCTETS = "application/json", "application/octet-stream"


@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        (OCTETS, OCTETS),
        ("Application/Octet-Stream", OCTETS),
        (f"{JSON};q=0.5, {OCTETS}", OCTETS),
        (f"{OCTETS};q=0.5, */*;q=0.1", OCTETS),
        (f"{JSON};q=0, */*", OCTETS),
        (f"*/*;q=0.9, {OCTETS};q=0.8", JSON),
        (f"text/html, {JSON};charset=utf-8;q=0.2", JSON),
        (f"{OCTETS};q=nonsense", OCTETS),
        (f"{OCTETS};q=nan", OCTETS),
        (f" {OCTETS} ; q = 0.3 , ", OCTETS),
    ],
)
def test_the_best_answer_is_chosen(accept, answer):
    assert acceptable(accept, [JSON, OCTETS]) == answer


@pytest.mark.parametrize("accept", ["text/html", f"{JSON};q=0", "image/*", ",", "*", "text/*, */*;q=0", "x" * 10_000])
def test_nothing_acceptable_is_told(accept):
    with pytest.raises(NotAcceptable) as refused:
        acceptable(accept, [JSON, OCTETS])
    assert refused.value.known == (JSON, OCTETS)
