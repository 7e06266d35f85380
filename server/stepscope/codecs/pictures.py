"""Images as files: what one is like, and the same one in another format, colour space or size. Pure functions.

Only formats on the list are opened, and the size stands in a file's head, so it is checked before anything is decoded.
"""

import io
import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from PIL import ExifTags, Image, ImageOps

FORMATS = {"jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "bmp": "BMP", "tiff": "TIFF", "gif": "GIF"}
MAX_PIXELS = 64 * 2**20
MAX_SIDE = 32_768

COLOR_SPACES: Mapping[str, tuple[str, ...]] = {
    "1": ("monochrome",),
    "L": ("gray",),
    "LA": ("gray", "alpha"),
    "I": ("gray",),
    "F": ("gray",),
    "I;16": ("gray",),
    "P": ("palette",),
    "RGB": ("rgb", "bgr", "gbr"),
    "RGBA": ("rgba", "gbr_alpha"),
    "YCbCr": ("yuv",),
}
"""The names of a mode's colour space. Which order the channels have in a file, no reader of it ever sees."""
MODES = {
    "rgb": "RGB",
    "bgr": "RGB",
    "gbr": "RGB",
    "yuv": "RGB",
    "rgba": "RGBA",
    "gbr_alpha": "RGBA",
    "yuva": "RGBA",
    "gray": "L",
    "grey": "L",
    "l": "L",
    "monochrome": "1",
    "palette": "P",
    "alpha": "LA",
}
LUMINANCE_FORMATS = ("jpeg", "webp")
"""Formats that keep colours as luminance and chrominance, and hand them out as RGB: both names are right."""
STORED: Mapping[str, tuple[str, ...]] = {
    "jpeg": ("RGB", "L"),
    "webp": ("RGB", "RGBA"),
    "bmp": ("RGB", "L", "1", "P", "RGBA"),
    "gif": ("P", "L", "1"),
}
"""The modes that a format can hold; the others hold all of them."""


class Pictures:
    """Measures and converts images."""

    def measure(self, data: bytes) -> dict[str, Any]:
        """Return format, colour space and size. Raises ValueError."""
        with _opened(data) as image:
            name = _name(image)
            spaces = COLOR_SPACES.get(image.mode, ("other",))
            if name in LUMINANCE_FORMATS and image.mode in ("RGB", "RGBA"):
                spaces = (*spaces, "yuv" if image.mode == "RGB" else "yuva")
            return {"format": name, "color_space": spaces, "size": image.size}

    def convert(self, data: bytes, wanted: Mapping[str, Any], *, crop: bool) -> tuple[bytes, str]:
        """Return the image as wanted, and its format. Raises ValueError."""
        with _opened(data) as image:
            name = wanted.get("format", _name(image))
            if name not in FORMATS:
                raise ValueError(f"images can't be written as {name}")
            try:
                image.load()
            except (OSError, SyntaxError, ValueError) as fault:
                raise ValueError("the image is damaged") from fault
            picture: Image.Image = image
            turn = _orientation(image)
            if "size" in wanted:
                picture = _resized(picture, wanted["size"], crop=crop)
            if "color_space" in wanted:
                picture = _in_space(picture, wanted["color_space"])
            return _saved(_storable(picture, name), name, turn), name


def _opened(data: bytes) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=list(FORMATS.values()))
    except Image.DecompressionBombError as fault:
        raise ValueError("the image is too large") from fault
    except Exception as fault:  # Pillow's readers raise what they like
        raise ValueError(f"it is no image in one of the formats {', '.join(FORMATS)}") from fault
    width, height = image.size
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE or min(width, height) < 1:
        raise ValueError(f"an image of {width} x {height} is too large")
    return image


def _name(image: Image.Image) -> str:
    return "jpeg" if image.format == "MPO" else (image.format or "").lower()


def _resized(image: Image.Image, size: tuple[int, int], *, crop: bool) -> Image.Image:
    width, height = size
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise ValueError(f"an image of {width} x {height} can't be made")
    if image.mode in ("P", "1"):
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if crop:  # what is cut off is the same on both sides
        return ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _in_space(image: Image.Image, space: str) -> Image.Image:
    mode = MODES.get(space)
    if mode is None:
        raise ValueError(f"images can't be converted to the color_space {space}")
    return image if image.mode == mode else _flattened(image, mode).convert(mode)


def _flattened(image: Image.Image, mode: str) -> Image.Image:
    """Put what is transparent on white, where the mode knows no transparency."""
    if image.mode not in ("RGBA", "LA", "PA") or mode in ("RGBA", "LA"):
        return image
    ground = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")


def _storable(image: Image.Image, name: str) -> Image.Image:
    modes = STORED.get(name)
    if modes is None or image.mode in modes:
        return image
    return _flattened(image, modes[0]).convert(modes[0])


def _orientation(image: Image.Image) -> Image.Exif:
    """Return how the image is turned when it is looked at, and nothing else of what its file tells."""
    kept = Image.Exif()
    with suppress(Exception):  # what isn't Exif turns nothing; Pillow's reader raises what it likes
        if turn := image.getexif().get(ExifTags.Base.Orientation):
            kept[ExifTags.Base.Orientation] = turn
    return kept


def _saved(image: Image.Image, name: str, turn: Image.Exif) -> bytes:
    buffer = io.BytesIO()
    try:
        image.save(buffer, FORMATS[name], **({"exif": turn} if turn else {}))
    except (OSError, ValueError) as fault:
        raise ValueError(f"the image can't be written as {name}") from fault
    return buffer.getvalue()
