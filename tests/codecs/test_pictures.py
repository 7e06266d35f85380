"""What a picture keeps when it is converted."""

import io

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from stepscope.codecs.pictures import Pictures


def photo(turn: int | None) -> bytes:
    """A red square beside a blue one, as a camera writes it that was held at an angle."""
    image = Image.new("RGB", (64, 32), "red")
    image.paste("blue", (32, 0, 64, 32))
    exif = Image.Exif()
    if turn:
        exif[ExifTags.Base.Orientation] = turn
    exif[ExifTags.Base.Artist] = "somebody"
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def _is_red(image: Image.Image) -> bool:
    red, _, blue = np.asarray(image.convert("RGB"), int)[4, 4]
    return bool(red > blue)


@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "tiff"])
@pytest.mark.parametrize("turn", [None, 1, 3, 6, 8])
def test_a_converted_picture_is_looked_at_the_same_way_up(name, turn):
    data = photo(turn)
    converted, _ = Pictures().convert(data, {"format": name}, crop=False)
    before, after = (ImageOps.exif_transpose(Image.open(io.BytesIO(each))) for each in (data, converted))
    assert after.size == before.size
    assert _is_red(after) == _is_red(before)
    assert ExifTags.Base.Artist not in Image.open(io.BytesIO(converted)).getexif()


@pytest.mark.parametrize("name", ["bmp", "gif"])
def test_a_format_without_a_place_for_it_is_written_all_the_same(name):
    converted, told = Pictures().convert(photo(6), {"format": name}, crop=False)
    assert told == name
    assert Image.open(io.BytesIO(converted)).size == (64, 32)
