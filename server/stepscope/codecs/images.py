"""Image files to pixels, and pixels to the size that a model takes.

* JPEG, PNG and WebP only, told by their bytes. Sizes are checked before anything is decoded.
* The EXIF orientation is applied: a model sees what a person sees. Files without one, ImageNet's for example, are
  decoded exactly as Pillow does.
* Transparent pixels are laid on white, as browsers do on a white page; dropping alpha would show hidden colours.
* A JPEG at least twice as large as the model's input is decoded at the nearest scale above it, which takes a quarter
  of the time with the resizing.
* 16-bit samples keep their high byte. Of an animation the first frame counts.
"""

import io
import math
from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from stepscope.codecs import headers
from stepscope.codecs.headers import Header
from stepscope.core.errors import ImageTooLarge, ImageUnreadable, InputEmpty, StepscopeError
from stepscope.core.frames import Frame
from stepscope.core.manifests import ImageSpec

Pixels = NDArray[np.uint8]

RESIZE_METHODS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
"""By their names in a manifest. All but nearest look at every source pixel when they shrink, as torchvision does."""

# The plugins themselves: `Image.open` would try what else is registered, and look at a process-wide pixel limit.
_PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLimits:
    """The largest image that is decoded. Memory needed on the way: 3 (JPEG) to 24 (WebP with alpha) bytes a pixel.

    `max_scanned_pixels` bounds a JPEG's scans times its pixels: 64 scans of the largest image took 12 s.
    """

    max_pixels: int = 32 * 1024 * 1024
    max_side: int = 16_384
    max_scans: int = 64
    max_scanned_pixels: int = 1024 * 1024 * 1024


DEFAULT_LIMITS = ImageLimits()
LEAST_SHRINK = 2
"""A JPEG is decoded smaller from this factor on: below it, libjpeg takes longer for fewer pixels."""


def decode(data: bytes, spec: ImageSpec | None = None, limits: ImageLimits = DEFAULT_LIMITS) -> Pixels:
    """Return an image file's pixels: (height, width, 3) RGB, or (height, width, 1) where `spec` wants one channel.

    For `raw_image` the file itself comes back, as a flat array of its bytes. Raises `InputEmpty`, `ImageUnreadable`
    or `ImageTooLarge`, and nothing else.
    """
    if not data:
        raise InputEmpty
    header = headers.read(data)
    _check_size(header, limits)
    if spec is not None and spec.element_type == "raw_image":
        return np.frombuffer(data, np.uint8)
    try:
        return _decoded(header, spec)
    except StepscopeError:
        raise
    except MemoryError:
        raise ImageTooLarge("there is no memory for it") from None
    except Exception:  # whatever a decoder throws at damaged data
        raise ImageUnreadable("its data is damaged") from None


def preprocess(image: NDArray[np.uint8], spec: ImageSpec) -> Frame | NDArray[np.uint8]:
    """Cut and resize decoded pixels for a model; what comes of them for a `raw_image` is the array itself.

    `crop_ratio` is the share of each side that is kept. `max_dimension` becomes the longest side, else `dimensions`
    is the size; with `keep_aspect_ratio` what sticks out of it is cut off, and otherwise the image is stretched.
    """
    return image if spec.element_type == "raw_image" else Frame(_resized(image, spec), spec)


# --- decoding ------------------------------------------------------------------------------------


def _check_size(header: Header, limits: ImageLimits) -> None:
    size = f"{header.width}x{header.height} pixels"
    if max(header.width, header.height) > limits.max_side:
        raise ImageTooLarge(f"it has {size}, and a side may have {limits.max_side}")
    if header.width * header.height > limits.max_pixels:
        raise ImageTooLarge(f"it has {size}, and {limits.max_pixels} are decoded")
    if header.scans > limits.max_scans or header.scans * header.width * header.height > limits.max_scanned_pixels:
        raise ImageTooLarge(f"it has {size} in {header.scans} scans")


def _wants_gray(spec: ImageSpec) -> bool:
    return spec.color_mode == "L" or (spec.dimensions is not None and spec.dimensions[0] == 1)


def _decoded(header: Header, spec: ImageSpec | None) -> Pixels:
    gray = spec is not None and _wants_gray(spec)
    if header.format == "JPEG" and header.channels in (1, 3):
        try:
            return _oriented(_fast_jpeg(header, gray, _least_size(header, spec)), header.orientation)
        except ValueError:
            pass  # oddities that Pillow reads over: stray bytes between markers, for one
    image, orientation = _plain_png(header) if header.stored_mode else _opened(header)
    return _oriented(_array(_plain(image, "L" if gray else "RGB")), orientation)


def _least_size(header: Header, spec: ImageSpec | None) -> tuple[int, int]:
    """Return the smallest height and width, before turning, from which nothing need be enlarged for a model."""
    if spec is None or spec.resize_method == "nearest":  # which takes single pixels of the original
        return header.height, header.width
    turned = header.orientation >= 5
    width, height = (header.height, header.width) if turned else (header.width, header.height)
    (left, top, right, bottom), size = _frame(width, height, spec)
    shrink = max(1.0, min((right - left) / size[0], (bottom - top) / size[1]))
    return math.ceil(header.height / shrink), math.ceil(header.width / shrink)


def _fast_jpeg(header: Header, gray: bool, least: tuple[int, int]) -> Pixels:
    """Decode by libjpeg-turbo without a way round, at the scale nearest above a least size (height, width).

    Raises `ValueError` for any irregularity.
    """
    height, width, _, _ = simplejpeg.decode_jpeg_header(header.data)
    if (height, width) != (header.height, header.width):
        raise ImageUnreadable("it has two sizes")
    space = "GRAY" if gray else "RGB"
    pixels: Pixels = simplejpeg.decode_jpeg(
        header.data, space, min_height=least[0], min_width=least[1], min_factor=LEAST_SHRINK
    )
    return pixels


def _plain_png(header: Header) -> tuple[Image.Image, int]:
    """Unpack a PNG's samples: half the time of Pillow's own reader, which would look at all chunks once more."""
    mode = header.stored_mode
    image = Image.new(mode, (header.width, header.height), None)  # `Image.frombytes` would blacken it first
    image.frombytes(header.data, "zip", mode, False)
    return image, header.orientation


def _opened(header: Header) -> tuple[Image.Image, int]:
    """Open a file by Pillow. Returns the decoded image and its orientation, which is known of a WebP only now."""
    image = _PLUGINS[header.format](io.BytesIO(header.data))
    if image.size != (header.width, header.height):
        raise ImageUnreadable("it has two sizes")
    image.load()
    if header.format != "WEBP":
        return image, header.orientation
    return image, headers.orientation_of(image.info.get("exif", b"").removeprefix(b"Exif\0\0"))


def _array(image: Image.Image) -> Pixels:
    """Return the pixels of an `L` or `RGB` image: (height, width, 1 or 3)."""
    # np.asarray asks for the bytes too, by a slower way
    return np.frombuffer(image.tobytes(), np.uint8).reshape(image.height, image.width, -1)


def _plain(image: Image.Image, mode: str) -> Image.Image:
    """Return an opaque 8-bit image in `mode`."""
    if image.mode == "I;16":
        image = _high_bytes(image)
    elif image.mode in ("RGBA", "LA") or "transparency" in image.info:
        image = _on_white(image.convert("RGBA"))
    return image if image.mode == mode else image.convert(mode)


def _high_bytes(image: Image.Image) -> Image.Image:
    samples = np.asarray(image)
    high = (samples >> 8).astype(np.uint8)
    if "transparency" in image.info:
        high[samples == image.info["transparency"]] = 255
    return Image.fromarray(high)


def _on_white(image: Image.Image) -> Image.Image:
    if image.getchannel("A").getextrema() == (255, 255):
        return image
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    return white


def _oriented(pixels: Pixels, orientation: int) -> Pixels:
    """Turn and mirror as EXIF 2.3 says: 5 to 8 swap the sides, and the first row and column move."""
    if orientation == 1:
        return pixels
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


# --- preprocessing -------------------------------------------------------------------------------


def _resized(image: Pixels, spec: ImageSpec) -> Pixels:
    height, width = image.shape[:2]
    box, size = _frame(width, height, spec)
    if box == (0, 0, width, height) and size == (width, height):
        return image
    gray = image.shape[2] == 1
    source = Image.fromarray(image[..., 0] if gray else image)
    # Cutting and resizing in one go: the whole image enlarged to cover a frame could be thousands of times as large.
    return _array(source.resize(size, RESIZE_METHODS[spec.resize_method], box))


def _frame(width: int, height: int, spec: ImageSpec) -> tuple[tuple[float, float, float, float], tuple[int, int]]:
    """Return what is kept of the image (left, top, right, bottom) and the size (width, height) that it gets."""
    kept_width, kept_height = width * spec.crop_ratio, height * spec.crop_ratio
    if spec.max_dimension is not None:
        shrink = spec.max_dimension / max(kept_width, kept_height)
        size = max(1, round(kept_width * shrink)), max(1, round(kept_height * shrink))
    elif spec.dimensions is not None:
        size = spec.dimensions[2], spec.dimensions[1]
        if spec.keep_aspect_ratio:
            shrink = min(kept_width / size[0], kept_height / size[1])
            kept_width, kept_height = size[0] * shrink, size[1] * shrink
    else:
        size = max(1, round(kept_width)), max(1, round(kept_height))
        kept_width, kept_height = size
    left, top = (width - kept_width) / 2, (height - kept_height) / 2
    if spec.crop_method == "topleft":
        left, top = 0, 0
    elif spec.max_dimension is None and spec.dimensions is None:
        left, top = left // 1, top // 1  # whole pixels: nothing is resized
    return (left, top, min(left + kept_width, width), min(top + kept_height, height)), size
