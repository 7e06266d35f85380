"""What clients send against what endpoints declare: every type, with and without conversion."""

import base64
import io
import json
import zlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stepscope.codecs.pictures import Pictures
from stepscope.dialects.aime.media import Media, write_uri
from stepscope.dialects.aime.parameters import Parameter, Type, read_parameter
from stepscope.dialects.aime.records import write_json
from stepscope.dialects.aime.refusals import Refusal
from stepscope.dialects.aime.tables import Table
from stepscope.dialects.aime.validation import validate

MEDIA = Media({Type.IMAGE: Pictures()}, {})


def declared(**table: Any) -> dict[str, Parameter]:
    return {"p": read_parameter("p", Table(Path("file"), "INPUTS.p", table))}


def check(value: Any, media: Media = MEDIA, **table: Any) -> Any:
    """Return what a worker gets of a value, `...` when it gets nothing."""
    return validate(declared(**table), {"p": value}, media).get("p", ...)


def refused(value: Any, media: Media = MEDIA, **table: Any) -> str:
    with pytest.raises(Refusal) as fault:
        check(value, media, **table)
    assert isinstance(fault.value.error, list)
    return fault.value.error[0]


def test_what_is_not_given_is_the_default_or_left_out() -> None:
    assert check(None) is ...
    assert check(None, default="x") == "x"
    assert "required" in refused(None, required=True, default="x")
    assert validate(declared(), {}, MEDIA) == {}


FITS: list[tuple[dict[str, Any], Any, Any]] = [
    ({}, "x", "x"),
    ({"type": "str"}, "x", "x"),
    ({"max_length": 2}, "ab", "ab"),
    ({"max_length": 2, "auto_convert": True}, "abc", "ab"),
    ({"auto_convert": True}, 5, "5"),
    ({"type": "integer"}, 5, 5),
    ({"type": "integer"}, 5.0, 5),
    ({"type": "integer"}, True, 1),
    ({"type": "int", "auto_convert": True}, 4.9, 4),
    ({"type": "int", "auto_convert": True}, "17", 17),
    ({"type": "int", "auto_convert": True, "minimum": 3, "maximum": 9}, 1, 3),
    ({"type": "int", "auto_convert": True, "minimum": 3, "maximum": 9}, 99, 9),
    ({"type": "int", "auto_convert": True, "align": 8}, 17, 16),
    ({"type": "int", "auto_convert": True, "align": 8, "minimum": 12}, 13, 16),
    ({"type": "float"}, 5, 5.0),
    ({"type": "float", "auto_convert": True}, "1.5", 1.5),
    ({"type": "float", "auto_convert": True, "max": 1}, 5.5, 1.0),
    ({"type": "bool"}, True, True),
    ({"type": "boolean", "auto_convert": True}, "false", False),
    ({"type": "boolean", "auto_convert": True}, 1, True),
    ({"type": "selection", "supported": ["a", "b"]}, "b", "b"),
    ({"type": "selection", "supported": [1, 2], "auto_convert": True}, "2", 2),
    ({"type": "selection", "supported": ["a", "b"], "default": "b", "auto_convert": True}, "c", "b"),
    ({"type": "selection", "supported": ["a", "b"], "auto_convert": True}, "c", "a"),
    ({"type": "selection", "supported": ["a", "b"], "default": "b"}, None, "b"),
    ({"type": "json"}, '{"a": [1]}', {"a": [1]}),
    ({"type": "json"}, "", None),
    ({"type": "json", "default": "[1]"}, None, [1]),
    ({"type": "json", "auto_convert": True}, {"a": 1}, {"a": 1}),
    ({"type": "text_context"}, "x", "x"),
]


@pytest.mark.parametrize(("table", "value", "wanted"), FITS)
def test_what_fits_or_can_be_made_to_is_taken(table: dict[str, Any], value: Any, wanted: Any) -> None:
    found = check(value, **table)
    assert found == wanted
    assert type(found) is type(wanted)


REFUSED: list[tuple[dict[str, Any], Any, str]] = [
    ({}, 5, "a text"),
    ({"max_length": 2}, "abc", "longer than 2"),
    ({"type": "integer"}, "5", "a whole number"),
    ({"type": "integer"}, 4.9, "a whole number"),
    ({"type": "integer"}, [], "a whole number"),
    ({"type": "integer", "auto_convert": True}, "x", "a whole number"),
    ({"type": "integer", "min": 0}, -1, "below the minimum of 0"),
    ({"type": "integer", "max": 0}, 1, "above the maximum of 0"),
    ({"type": "integer", "align": 8}, 9, "a multiple of 8"),
    ({"type": "float"}, "1", "a number"),
    ({"type": "float", "maximum": 1.5}, 1.6, "above the maximum"),
    ({"type": "bool"}, 1, "true or false"),
    ({"type": "bool", "auto_convert": True}, "maybe", "true or false"),
    ({"type": "selection", "supported": ["a"]}, "b", "one of a"),
    ({"type": "selection", "supported": ["a"]}, 5, "a str"),
    ({"type": "selection", "supported": ["a"]}, None, "required"),
    ({"type": "json"}, "{", "isn't JSON"),
    ({"type": "json"}, {}, "a text that holds JSON"),
    ({"type": "image"}, 5, "a data URI"),
    ({"type": "image"}, "abc", "a data URI"),
    ({"type": "image"}, "data:image/png;base64,%%%", "base64"),
    ({"type": "image"}, "data:image/png;base64,", "empty"),
    ({"type": "image"}, "data:image/png;base64,aGVsbG8=", "no image"),
]


@pytest.mark.parametrize(("table", "value", "told"), REFUSED)
def test_what_does_not_fit_is_refused(table: dict[str, Any], value: Any, told: str) -> None:
    assert told in refused(value, **table)


def test_all_faults_come_in_one_list() -> None:
    inputs = declared(type="integer") | {"q": replace(declared(required=True)["p"], name="q")}
    with pytest.raises(Refusal) as fault:
        validate(inputs, {"p": "x", "a": 1, "b": 2}, MEDIA)
    assert fault.value.error[0] == "Unknown parameters: a, b"
    assert len(fault.value.error) == 3


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(JSON, st.sampled_from([*Type]), st.booleans())
def test_any_value_is_taken_or_refused(value: Any, kind: Type, convert: bool) -> None:
    if kind in (Type.AUDIO, Type.VIDEO):
        return
    more: dict[str, Any] = {"supported": ["a", 1]} if kind is Type.SELECTION else {}
    with suppress(Refusal):
        write_json(check(value, type=kind.value, auto_convert=convert, **more))


@given(st.integers(-1000, 1000), st.integers(-50, 50), st.integers(0, 50), st.integers(1, 16))
def test_a_converted_number_keeps_to_its_limits(value: int, low: int, span: int, align: int) -> None:
    found = check(value, type="integer", auto_convert=True, minimum=low, maximum=low + span + align, align=align)
    assert low <= found <= low + span + align
    assert found % align == 0


# --- chats --------------------------------------------------------------------------------------


def pixel(mode: str = "RGB", size: tuple[int, int] = (4, 4), name: str = "PNG") -> str:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, name)
    return f"data:image/WAV;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def test_a_chat_is_read_with_all_its_media() -> None:
    image = pixel()
    chat = [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": [{"text": "look"}, {"image": image}, {"image": image}]},
    ]
    assert check(json.dumps(chat), type="chat_context", support=["image"]) == chat


@pytest.mark.parametrize(
    ("chat", "told"),
    [
        ("{", "isn't JSON"),
        ("{}", "a JSON list"),
        ("[5]", "role and content"),
        ('[{"role": "x", "content": ""}]', "role has to be one of"),
        ('[{"role": "user", "content": 5}]', "a text or a list"),
        ('[{"role": "user", "content": [{"text": "a", "image": "b"}]}]', "exactly one of"),
        ('[{"role": "user", "content": [{"image": "data:image/png;base64,x"}]}]', "isn't supported"),
        (5, "a text"),
    ],
)
def test_a_chat_that_is_none_is_refused(chat: Any, told: str) -> None:
    assert told in refused(chat, type="chat_context")


def test_a_text_and_a_chat_exclude_each_other() -> None:
    inputs = declared(type="chat_context") | {"t": replace(declared(type="text_context")["p"], name="t")}
    assert validate(inputs, {"t": "x"}, MEDIA) == {"t": "x"}
    with pytest.raises(Refusal, match="together"):
        validate(inputs, {"p": "[]", "t": "x"}, MEDIA)


# --- images -------------------------------------------------------------------------------------


def opened(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_an_image_that_fits_is_handed_on_as_it_came() -> None:
    uri = pixel()
    table: dict[str, Any] = {
        "format": {"supported": ["PNG"]},
        "color_space": {"supported": ["RGB"]},
        "size": {"max": [4, 4]},
    }
    assert check(uri, type="image", **table) is uri


def test_the_colours_of_a_jpeg_have_both_names() -> None:
    uri = pixel(name="JPEG")
    for space in ("rgb", "YUV"):
        assert check(uri, type="image", color_space={"supported": [space]}) is uri
    assert "color_space" in refused(uri, type="image", color_space={"supported": ["gray"]})


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"format": {"supported": ["jpg"]}}, "format png isn't one of jpg"),
        ({"size": {"minimum": [8, 1]}}, "size (width): 4 is below"),
        ({"size": {"maximum": [8, 2]}}, "size (height): 4 is above"),
        ({"size": {"align": 3}}, "multiple of 3"),
        ({"size": {"supported": [[1, 1]]}}, "size 4 x 4 isn't one of 1 x 1"),
    ],
)
def test_an_image_that_does_not_fit_is_refused(table: dict[str, Any], told: str) -> None:
    assert told in refused(pixel(), type="image", **table)


def test_an_image_is_converted() -> None:
    found = check(
        pixel("RGBA", (40, 20)),
        type="image",
        format={"supported": ["jpeg"], "default": "JPEG", "auto_convert": True},
        color_space={"supported": ["rgb"], "default": "rgb", "auto_convert": True},
        size={"maximum": [16, 16], "align": 8, "auto_convert": True},
    )
    assert found.startswith("data:image/jpeg;base64,")
    image = opened(found)
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (16, 16))


def test_the_ratio_is_kept_where_wanted() -> None:
    size = {"maximum": [16, 16], "auto_convert": True, "keep_aspect_ratio": True}
    assert opened(check(pixel("RGB", (40, 20)), type="image", size=size)).size == (16, 8)


def test_a_crop_keeps_the_middle() -> None:
    picture = Image.new("RGB", (30, 10), "red")
    picture.paste("blue", (10, 0, 20, 10))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    size = {"supported": [[10, 10]], "auto_convert": True}
    found = check(write_uri(Type.IMAGE, "png", buffer.getvalue()), type="image", size=size, resize_method="crop")
    assert opened(found).getpixel((0, 5)) == (0, 0, 255)


def test_the_servers_limits_come_first_and_never_convert() -> None:
    media = Media({Type.IMAGE: Pictures()}, {"image": {"format": ("jpeg",)}})
    table = {"format": {"supported": ["jpeg"], "auto_convert": True}}
    assert "isn't allowed on this server" in refused(pixel(), media, type="image", **table)


def test_a_list_of_images_is_checked_one_by_one() -> None:
    assert len(check([pixel(), pixel()], type="image_list")) == 2
    assert "a data URI" in refused([5], type="image_list")
    assert "a list" in refused(pixel(), type="image_list")


def test_an_image_that_is_too_large_is_not_decoded() -> None:
    head = b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR" + (60_000).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"
    data = head + zlib.crc32(head[12:]).to_bytes(4, "big") + b"\x00\x00\x00\x00IDAT" + b"\x35\xaf\x06\x1e"
    assert "too large" in refused(write_uri(Type.IMAGE, "png", data), type="image")


def test_a_damaged_image_is_not_converted() -> None:
    data = base64.b64decode(pixel("RGB", (640, 640), "JPEG").partition(",")[2])
    uri = write_uri(Type.IMAGE, "jpeg", data[:-20])
    assert "damaged" in refused(uri, type="image", size={"supported": [[1, 1]], "auto_convert": True})


@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "bmp", "tiff", "gif"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1", "LA"])
def test_every_format_can_be_made_of_every_mode(name: str, mode: str) -> None:
    found = check(pixel(mode), type="image", format={"supported": [name], "auto_convert": True})
    assert (opened(found).format or "").lower() == name
