"""Image files to pixels to a model's input."""

import io
import random
import struct
import time
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps, PngImagePlugin

from stepscope.codecs import headers, images
from stepscope.codecs.images import ImageLimits, decode
from stepscope.core.errors import ImageTooLarge, ImageUnreadable, InputEmpty, InputFailed
from stepscope.core.frames import Frame, normalised
from stepscope.core.manifests import ImageSpec

GRAY = ImageSpec(color_mode="L")
RED, GREEN, BLUE, WHITE, BLACK = [255, 0, 0], [0, 255, 0], [0, 0, 255], [255] * 3, [0] * 3


def encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def photo(width: int = 40, height: int = 30) -> Image.Image:
    """A smooth picture without symmetry."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 255 / width, y * 255 / height, (x + 2 * y) * 80 / width], -1)
    return Image.fromarray(pixels.astype(np.uint8))


def preprocess(image: Any, spec: ImageSpec) -> Any:
    """What the model gets of an image alone."""
    framed = images.preprocess(image, spec)
    return framed.array() if isinstance(framed, Frame) else framed


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 2, data: bytes = b"") -> bytes:
    """A PNG by hand: nobody's encoder writes the ones that are needed here."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


# --- what can be read ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file_format", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("PNG", {"optimize": True}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 100}, 12),
        ("JPEG", {"quality": 100, "subsampling": 0}, 4),
        ("JPEG", {"quality": 95, "progressive": True}, 12),
    ],
)
def test_the_three_formats_keep_their_pixels(file_format: str, options: dict[str, Any], tolerance: int) -> None:
    pixels = decode(encoded(photo(), file_format, **options))
    assert pixels.dtype == np.uint8
    assert pixels.shape == (30, 40, 3)
    assert pixels.flags.c_contiguous
    assert np.abs(pixels.astype(int) - np.asarray(photo())).max() <= tolerance


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_jpegs_equal_pillows(subsampling: int) -> None:
    data = encoded(photo(123, 77), "JPEG", subsampling=subsampling)
    np.testing.assert_array_equal(decode(data), np.asarray(Image.open(io.BytesIO(data))))


def test_known_pixels() -> None:
    data = png(2, 2, data=bytes([0, *RED, *GREEN, 0, *BLUE, *WHITE]))
    assert decode(data).tolist() == [[RED, GREEN], [BLUE, WHITE]]
    assert decode(data, GRAY).tolist() == [[[76], [150]], [[29], [255]]]  # ITU-R 601 luma


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
def test_gray_files_and_gray_models(file_format: str) -> None:
    gray = photo().convert("L")
    data = encoded(gray, file_format, quality=100)
    assert decode(data).shape == (30, 40, 3)
    assert decode(data, GRAY).shape == decode(data, ImageSpec(dimensions=(1, 28, 28))).shape == (30, 40, 1)
    assert np.abs(decode(data, GRAY)[..., 0].astype(int) - np.asarray(gray)).max() <= 4


def test_cmyk_jpegs() -> None:
    data = encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100)
    assert np.abs(decode(data)[4, 4].astype(int) - RED).max() < 5
    assert decode(data, GRAY).shape == (8, 8, 1)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("spec", [None, GRAY])
def test_every_mode_of_png(mode: str, spec: ImageSpec | None) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.asarray(photo().convert("L")).astype(np.uint16) * 257)
    else:
        image = photo().convert(mode)
    pixels = decode(encoded(image, "PNG"), spec)
    assert pixels.shape == (30, 40, 1 if spec else 3)
    expected = np.asarray(photo().convert("1" if mode == "1" else "L").convert("L"), int)
    seen = pixels[..., 0] if spec else np.asarray(Image.fromarray(pixels).convert("L"), int)
    assert np.abs(seen - expected).mean() < (30 if mode == "P" else 1)


@pytest.mark.parametrize(("colour", "samples"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bit_pngs_keep_the_high_byte(colour: int, samples: int) -> None:
    line = struct.pack(f">{samples}H", *[0x80FF] * (samples - 1), 0xFFFF) if colour in (4, 6) else b"\x80\xff" * samples
    assert decode(png(1, 1, depth=16, colour=colour, data=b"\0" + line)).tolist() == [[[0x80] * 3]]


@pytest.mark.parametrize("file_format", ["PNG", "WEBP"])
def test_transparent_pixels_are_white(file_format: str) -> None:
    image = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 8, 16))
    pixels = decode(encoded(image, file_format, lossless=True, exact=True))
    assert pixels[0, 0].tolist() == BLACK
    assert pixels[0, 15].tolist() == WHITE
    half = decode(encoded(Image.new("RGBA", (4, 4), (0, 0, 0, 128)), file_format, lossless=True))
    assert half[0, 0].tolist() == [127] * 3


@pytest.mark.parametrize(
    ("depth", "colour", "palette", "transparent"),
    [
        (8, 0, b"", b"\0\0"),
        (16, 0, b"", b"\0\0"),
        (8, 2, b"", b"\0" * 6),
        (8, 3, b"\0\0\0", b"\0"),
        (1, 0, b"", b"\0\0"),
        (1, 3, b"\0\0\0\xff\0\0", b"\0\xff"),
    ],
)
def test_named_transparent_colours_are_white(depth: int, colour: int, palette: bytes, transparent: bytes) -> None:
    extra = [chunk(b"PLTE", palette)] if palette else []
    data = png(1, 1, *extra, chunk(b"tRNS", transparent), depth=depth, colour=colour, data=bytes(9))
    assert decode(data).tolist() == [[WHITE]]


@pytest.mark.parametrize("file_format", ["PNG", "WEBP"])
def test_the_first_frame_counts(file_format: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    data = encoded(frames[0], file_format, save_all=True, append_images=frames[1:], lossless=True)
    assert decode(data)[0, 0].tolist() == RED


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(10))
def test_the_orientation_is_applied(file_format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(photo(), file_format, exif=exif, lossless=True)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(decode(data), np.asarray(expected))
    assert decode(data).flags.c_contiguous


@pytest.mark.parametrize("exif", [b"", b"II", b"MM\0*\0\0\0\x08", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff"])
def test_damaged_exif_turns_nothing(exif: bytes) -> None:
    assert headers.orientation_of(exif) == 1


def test_a_raw_image_keeps_its_bytes() -> None:
    spec = ImageSpec(element_type="raw_image")
    data = encoded(photo(), "JPEG")
    assert preprocess(decode(data, spec), spec).tobytes() == data
    with pytest.raises(ImageUnreadable):
        decode(b"GIF89a", spec)
    with pytest.raises(ImageTooLarge):
        decode(png(60_000, 60_000), spec)


def test_a_jpeg_with_stray_bytes_is_read_as_browsers_do() -> None:
    data = encoded(photo(), "JPEG")
    stray = data[:2] + b"\xff\xfe\x00\x04ab" + b"\x00\x00" + data[2:] + b"trailing"
    np.testing.assert_array_equal(decode(stray), decode(data))


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("file_format", ["GIF", "BMP", "TIFF", "JPEG2000", "ICO", "PPM", "PDF"])
def test_other_formats_are_refused_by_their_bytes(file_format: str) -> None:
    with pytest.raises(ImageUnreadable, match="JPEG, PNG or WebP"):
        decode(encoded(photo(), file_format))


@pytest.mark.parametrize("data", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"hello", b"\x00", b"RIFF\0\0\0\0AVI "])
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(ImageUnreadable, match="JPEG, PNG or WebP"):
        decode(data)


def test_nothing_is_an_empty_input() -> None:
    with pytest.raises(InputEmpty):
        decode(b"")


def vp8x(width: int, height: int) -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + sides
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg_of(width: int, height: int) -> bytes:
    data = bytearray(encoded(photo(), "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        png(60_000, 60_000, data=bytes(1000)),
        png(2**31 - 1, 1),
        png(16_385, 1),
        png(8193, 8192),
        vp8x(60_000, 60_000),
        vp8x(2**24, 2**24),
        jpeg_of(60_000, 60_000),
        jpeg_of(65_535, 1),
    ],
    ids=["png", "png wide", "png side", "png pixels", "webp", "webp largest", "jpeg", "jpeg wide"],
)
def test_images_too_large_are_refused_at_once(data: bytes) -> None:
    assert len(data) < 3000
    tracemalloc.start()
    began = time.perf_counter()
    with pytest.raises(ImageTooLarge):
        decode(data)
    assert time.perf_counter() - began < 0.5
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_the_limits_are_exact() -> None:
    data = encoded(photo(40, 30), "PNG")
    decode(data, limits=ImageLimits(max_pixels=1200, max_side=40))
    for limits in (ImageLimits(max_pixels=1199), ImageLimits(max_side=39)):
        with pytest.raises(ImageTooLarge):
            decode(data, limits=limits)


def test_endless_scans_are_refused() -> None:
    data = encoded(photo(), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    decode(data[:-2] + last * 20 + data[-2:])
    with pytest.raises(ImageTooLarge, match="scans"):
        decode(data[:-2] + last * 100 + data[-2:])
    with pytest.raises(ImageTooLarge, match="scans"):
        decode(data, limits=ImageLimits(max_scanned_pixels=5 * 1200))


def test_bombs_beside_the_pixels_are_not_unpacked() -> None:
    bomb = zlib.compress(bytes(300_000_000), 9)
    extra = [
        chunk(b"zTXt", b"a\0\0" + bomb),
        chunk(b"iTXt", b"b\0\1\0\0\0" + bomb),
        chunk(b"iCCP", b"c\0\0" + bomb),
        chunk(b"tEXt", b"d\0" + b"x" * 2_000_000),
    ]
    for colour in (2, 3):  # by the short way and by Pillow
        palette = [chunk(b"PLTE", b"\0\0\0")] if colour == 3 else []
        data = png(1, 1, *extra, *palette, colour=colour, data=bytes(4))
        began = time.perf_counter()
        assert decode(data).tolist() == [[BLACK]]
        assert time.perf_counter() - began < 1


def test_pixels_that_unpack_to_more_than_the_image_are_left_packed() -> None:
    for colour in (0, 3):
        palette = [chunk(b"PLTE", b"\0\0\0")] if colour == 3 else []
        data = png(1, 1, *palette, colour=colour, data=bytes(300_000_000))
        began = time.perf_counter()
        assert decode(data).tolist() == [[BLACK]]
        assert time.perf_counter() - began < 1


def test_endless_chunks_are_refused() -> None:
    with pytest.raises(ImageUnreadable, match="chunks"):
        decode(png(1, 1, chunk(b"tEXt", b"") * 70_000, data=bytes(4)))


@pytest.mark.parametrize(
    ("file_format", "modes"), [("JPEG", ("RGB", "L", "CMYK")), ("PNG", ("RGB", "L", "P")), ("WEBP", ("RGB", "L", "P"))]
)
@pytest.mark.parametrize("place", range(3))
def test_files_cut_short_are_refused(file_format: str, modes: tuple[str, ...], place: int) -> None:
    mode = modes[place]
    data = encoded(photo(90, 70).convert(mode), file_format)
    for size in {1, 2, 3, 8, 12, 20, 25, 30, len(data) // 2, len(data) - 1, *range(1, len(data), 37)}:
        with pytest.raises(ImageUnreadable):
            decode(data[:size])


def test_a_png_with_a_wrong_checksum_is_refused() -> None:
    data = bytearray(encoded(photo(), "PNG"))
    data[-13] ^= 1  # the last byte of IDAT's checksum; the pixels are whole
    with pytest.raises(ImageUnreadable):
        decode(bytes(data))


def test_a_png_that_lacks_pixels_is_refused() -> None:
    with pytest.raises(ImageUnreadable):
        decode(png(10, 10, data=bytes(100)))
    with pytest.raises(ImageUnreadable):
        decode(png(0, 10))


def test_pillows_own_settings_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_CHUNK", 1)
    for file_format in ("JPEG", "PNG", "WEBP"):
        data = encoded(photo(), file_format)
        assert decode(data).shape == (30, 40, 3)
        with pytest.raises(ImageUnreadable):
            decode(data[: len(data) - 3])
    with pytest.raises(ImageTooLarge):
        decode(png(60_000, 60_000))


def test_no_memory_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(images, "_decoded", lambda header, gray: no_memory())
    with pytest.raises(ImageTooLarge):
        decode(encoded(photo(), "PNG"))


# --- whatever comes ------------------------------------------------------------------------------

MAGIC = [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\xff\0\0\0WEBPVP8 ", b"RIFF\x10\0\0\0WEBPVP8X", b"GIF89a"]
FILES = [
    encoded(photo().convert(mode), file_format, **options)
    for file_format, mode, options in [
        ("JPEG", "RGB", {}),
        ("JPEG", "RGB", {"progressive": True}),
        ("JPEG", "L", {}),
        ("JPEG", "CMYK", {}),
        ("PNG", "RGB", {}),
        ("PNG", "P", {}),
        ("PNG", "RGBA", {}),
        ("PNG", "1", {}),
        ("WEBP", "RGB", {}),
        ("WEBP", "RGBA", {"lossless": True}),
    ]
]


def tried(data: bytes, spec: ImageSpec | None) -> None:
    try:
        pixels = decode(data, spec, ImageLimits(max_pixels=1 << 20))
    except InputFailed:
        pass
    else:
        assert pixels.dtype == np.uint8
        assert pixels.size <= 3 << 20


@settings(deadline=1000, max_examples=300)
@given(st.sampled_from(MAGIC), st.binary(max_size=400), st.sampled_from([None, GRAY]))
def test_any_bytes_are_decoded_or_refused(magic: bytes, data: bytes, spec: ImageSpec | None) -> None:
    tried(magic + data, spec)


@settings(deadline=1000, max_examples=300)
@given(
    st.sampled_from(FILES),
    st.lists(st.tuples(st.integers(0, 10_000), st.binary(min_size=1, max_size=4)), min_size=1, max_size=6),
    st.integers(0, 10_000),
    st.sampled_from([None, GRAY]),
)
def test_damaged_files_are_decoded_or_refused(
    file: bytes, damages: list[tuple[int, bytes]], end: int, spec: ImageSpec | None
) -> None:
    data = bytearray(file)
    for at, damage in damages:
        at %= len(data)
        data[at : at + len(damage)] = damage
    tried(bytes(data[: end or None]), spec)


def test_damaged_chunks_with_right_checksums_are_decoded_or_refused() -> None:
    """Checksums keep most damage away from the decoder; these have it past them."""
    chance = random.Random(0)
    for _ in range(500):
        colour, depth = chance.choice([0, 2, 3, 4, 6]), chance.choice([1, 2, 4, 8, 16])
        extra = [chunk(kind, chance.randbytes(chance.randrange(9))) for kind in (b"PLTE", b"tRNS", b"eXIf", b"acTL")]
        chance.shuffle(extra)
        data = png(3, 3, *extra[: chance.randrange(5)], colour=colour, depth=depth, data=chance.randbytes(80))
        tried(data, chance.choice([None, GRAY]))


# --- preprocessing -------------------------------------------------------------------------------


def image_of(height: int, width: int, channels: int = 3) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.arange(height * width * channels, dtype=np.uint8).reshape(height, width, channels)


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
@pytest.mark.parametrize("color_mode", ["RGB", "BGR"])
@pytest.mark.parametrize("element_type", ["float16", "float32", "float64"])
def test_pixels_are_normalised_per_channel(layout: str, color_mode: str, element_type: str) -> None:
    image = image_of(5, 7)
    mean, scale = (1.5, 2.5, 3.5), (2.0, 4.0, 8.0)
    spec = ImageSpec(
        element_type=element_type, dimensions=(3, 5, 7), mean=mean, scale=scale, layout=layout, color_mode=color_mode
    )
    expected = (image.astype(float) - mean) / scale
    expected = expected[..., ::-1] if color_mode == "BGR" else expected
    expected = expected.transpose(2, 0, 1) if layout == "CHW" else expected
    result = preprocess(image, spec)
    assert result.dtype == element_type
    assert result.flags.c_contiguous
    assert result.flags.writeable
    np.testing.assert_allclose(result, expected, rtol=1e-3 if element_type == "float16" else 1e-6)


@pytest.mark.parametrize("mean", [(10.0,), (10.0, 10.0, 10.0)])
def test_one_number_stands_for_all_channels(mean: tuple[float, ...]) -> None:
    result = preprocess(image_of(2, 2), ImageSpec(mean=mean, scale=(2.0,)))
    np.testing.assert_array_equal(result, (image_of(2, 2).astype(np.float32) - 10) / 2)


def test_a_digit_becomes_a_tensor() -> None:
    spec = ImageSpec(dimensions=(1, 28, 28), color_mode="L", mean=(33.0,), scale=(78.0,), layout="CHW")
    digit = np.arange(784, dtype=np.uint8).reshape(28, 28)
    result = preprocess(decode(encoded(Image.fromarray(digit), "PNG"), spec), spec)
    np.testing.assert_allclose(result, (digit[np.newaxis].astype(np.float32) - 33) / 78, rtol=1e-6)


@pytest.mark.parametrize(
    ("element_type", "mean", "scale", "expected"),
    [
        ("uint8", 0.0, 1.0, [0, 100, 255]),
        ("int8", 0.0, 1.0, [0, 100, 127]),
        ("int8", 128.0, 1.0, [-128, -28, 127]),
        ("uint8", 50.0, 1.0, [0, 50, 205]),
        ("uint8", 0.0, 0.5, [0, 200, 255]),
        ("int32", 0.0, 200.0, [0, 0, 1]),
        ("int64", 0.0, 0.001, [0, 100_000, 255_000]),
    ],
)
def test_integers_are_rounded_and_clipped(element_type: str, mean: float, scale: float, expected: list[int]) -> None:
    pixels = np.array([[[0], [100], [255]]], np.uint8)
    result = preprocess(pixels, ImageSpec(element_type=element_type, mean=(mean,), scale=(scale,), color_mode="L"))
    assert result.dtype == element_type
    assert result.ravel().tolist() == expected


def test_pixels_that_need_nothing_are_not_copied() -> None:
    image = image_of(4, 4)
    framed = images.preprocess(image, ImageSpec(dimensions=(3, 4, 4)))
    assert isinstance(framed, Frame)
    assert framed.pixels is image
    assert framed.shape == (4, 4, 3)


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
@pytest.mark.parametrize("element_type", ["float32", "uint8", "int8"])
def test_a_batch_comes_out_as_its_images_do_alone(layout: str, element_type: str) -> None:
    spec = ImageSpec(element_type=element_type, mean=(1.5, 2.5, 3.5), scale=(2.0, 3.0, 0.7), layout=layout)
    batch = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), np.uint8)
    alone = [Frame(image, spec).array() for image in batch]
    assert [each.shape for each in alone] == [Frame(batch[0], spec).shape] * 5
    np.testing.assert_array_equal(normalised(batch, spec), np.stack(alone))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("size", [(640, 480), (500, 375), (480, 640)])
@pytest.mark.parametrize("more", [{}, {"keep_aspect_ratio": True}, {"crop_ratio": 0.875}, {"max_dimension": 100}])
def test_a_large_jpeg_is_decoded_small_and_looks_the_same(
    orientation: int, size: tuple[int, int], more: dict[str, Any]
) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    data = encoded(photo(*size), "JPEG", quality=95, exif=exif)
    spec = ImageSpec(dimensions=(3, 96, 128), element_type="uint8", **more)
    small = decode(data, spec)
    assert small.size < decode(data).size / 3
    difference = np.abs(preprocess(small, spec).astype(int) - preprocess(decode(data), spec).astype(int))
    assert difference.mean() < 1.0
    assert np.percentile(difference, 99) < 6


def test_a_jpeg_is_decoded_whole_where_its_size_matters() -> None:
    data = encoded(photo(640, 480), "JPEG")
    for spec in (
        None,
        ImageSpec(),
        ImageSpec(dimensions=(3, 300, 400)),
        ImageSpec(dimensions=(3, 24, 32), resize_method="nearest"),
    ):
        assert decode(data, spec).shape == (480, 640, 3)


def test_rows_that_a_png_lacks_hold_nothing_of_another_image() -> None:
    for _ in range(50):
        decode(png(64, 64, data=b"".join(b"\0" + b"\xff" * 192 for _ in range(64))))
        try:
            pixels = decode(png(64, 64, data=b"\0" + b"\xff" * 192))
        except ImageUnreadable:
            continue
        assert not pixels[1:].any()


def test_the_input_is_left_as_it_was() -> None:
    image = image_of(4, 4)
    preprocess(image, ImageSpec(mean=(1.0,), scale=(2.0,)))
    np.testing.assert_array_equal(image, image_of(4, 4))


@pytest.mark.parametrize("method", list(images.RESIZE_METHODS))
def test_resizing_is_pillows(method: str) -> None:
    image = np.asarray(photo())
    spec = ImageSpec(element_type="uint8", dimensions=(3, 12, 16), resize_method=method)
    expected = photo().resize((16, 12), images.RESIZE_METHODS[method])
    np.testing.assert_array_equal(preprocess(image, spec), np.asarray(expected))


@pytest.mark.parametrize(
    ("spec", "size"),
    [
        (ImageSpec(), (30, 40)),
        (ImageSpec(dimensions=(3, 10, 20)), (10, 20)),
        (ImageSpec(dimensions=(3, 10, 20), keep_aspect_ratio=True), (10, 20)),
        (ImageSpec(max_dimension=20), (15, 20)),
        (ImageSpec(max_dimension=80), (60, 80)),
        (ImageSpec(max_dimension=20, dimensions=(3, 9, 9)), (15, 20)),
        (ImageSpec(crop_ratio=0.5), (15, 20)),
        (ImageSpec(crop_ratio=0.5, max_dimension=10), (8, 10)),
        (ImageSpec(crop_ratio=0.001), (1, 1)),
    ],
)
def test_sizes(spec: ImageSpec, size: tuple[int, int]) -> None:
    assert preprocess(np.asarray(photo()), spec).shape == (*size, 3)


def stripes() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Three squares side by side: 10, 20, 30."""
    return np.repeat(np.array([10, 20, 30], np.uint8), 4)[np.newaxis, :, np.newaxis].repeat(4, 0)


@pytest.mark.parametrize(
    ("keep", "crop_method", "ratio", "expected"),
    [
        (True, "center", 1.0, [20, 20]),
        (True, "topleft", 1.0, [10, 10]),
        (False, "center", 1 / 3, [20, 20]),
        (False, "topleft", 1 / 3, [10, 10]),
        (False, "center", 1.0, [12, 28]),
    ],
)
def test_what_is_cut_off(keep: bool, crop_method: str, ratio: float, expected: list[int]) -> None:
    spec = ImageSpec(
        element_type="uint8",
        color_mode="L",
        dimensions=(1, 2, 2),
        keep_aspect_ratio=keep,
        crop_method=crop_method,
        crop_ratio=ratio,
        resize_method="box",
    )
    result = preprocess(stripes(), spec)[0, :, 0].tolist()
    np.testing.assert_allclose(result, expected, atol=1)


def test_cropping_alone_keeps_pixels() -> None:
    image = image_of(9, 9)
    result = preprocess(image, ImageSpec(element_type="uint8", crop_ratio=5 / 9))
    np.testing.assert_array_equal(result, image[2:7, 2:7])


def test_a_ribbon_is_not_blown_up() -> None:
    ribbon = np.zeros((1, 16_384, 3), np.uint8)
    began = time.perf_counter()
    result = preprocess(ribbon, ImageSpec(dimensions=(3, 224, 224), keep_aspect_ratio=True))
    assert result.shape == (224, 224, 3)
    assert time.perf_counter() - began < 0.5


@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.sampled_from([1, 3]),
    st.floats(0.01, 1.0),
    st.booleans(),
    st.sampled_from(["center", "topleft"]),
    st.one_of(st.none(), st.tuples(st.integers(1, 40), st.integers(1, 40))),
    st.one_of(st.none(), st.integers(1, 50)),
)
def test_any_geometry_works(
    height: int,
    width: int,
    channels: int,
    ratio: float,
    keep: bool,
    method: str,
    size: tuple[int, int] | None,
    longest: int | None,
) -> None:
    spec = ImageSpec(
        dimensions=(channels, *size) if size else None,
        color_mode="L" if channels == 1 else "RGB",
        crop_ratio=ratio,
        keep_aspect_ratio=keep,
        crop_method=method,
        max_dimension=longest,
    )
    result = preprocess(np.full((height, width, channels), 7, np.uint8), spec)
    assert (result == 7).all()
    assert result.shape[2] == channels
    if longest:
        assert max(result.shape[:2]) == longest
    elif size:
        assert result.shape[:2] == size
