"""Base64, strictly."""

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepscope.codecs import octets
from stepscope.core.errors import Base64Invalid, InputEmpty

STANDARD = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


@given(st.binary(min_size=1, max_size=300))
def test_what_was_encoded_comes_back(data: bytes) -> None:
    encoded = base64.b64encode(data)
    assert octets.decode(encoded) == octets.decode(encoded.decode()) == data


@given(st.one_of(st.text(min_size=1), st.text(alphabet="AQgw+/=\n -_", min_size=1, max_size=12)))
def test_only_standard_base64_is_read(text: str) -> None:
    if STANDARD.fullmatch(text):
        assert octets.decode(text) == base64.b64decode(text)
    else:
        with pytest.raises(Base64Invalid):
            octets.decode(text)


@pytest.mark.parametrize(
    "text",
    [
        "data:image/png;base64,aGVsbG8=",
        "aGVsbG8",
        "aGVsbG8==",
        "0000=",
        "0000====",
        "aGVs\nbG8=",
        " aGVsbG8=",
        "aGVsbG8=\n",
        "aGVs=bG8",
        "aGVsbG8=aGVsbG8=",
        "_-8=",
        "====",
        "=",
        "aGVsbG8\uff1d",
        "aGVs\x00bG8=",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(Base64Invalid):
        octets.decode(text)


@pytest.mark.parametrize("nothing", ["", b""])
def test_nothing_is_an_empty_input(nothing: str | bytes) -> None:
    with pytest.raises(InputEmpty):
        octets.decode(nothing)
