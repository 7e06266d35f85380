"""What an image file says of itself, read from its bytes before a decoder sees them.

Three formats are known: JPEG (ITU T.81), PNG (W3C PNG 3) and WebP (RFC 9649). What a decoder could be made to waste
memory or time on is found here: sizes, compressed text, endless scans and chunks.
"""

import struct
import zlib

import msgspec

from stepscope.core.errors import ImageUnreadable

MAX_PNG_CHUNKS = 65_536
MAX_JPEG_MARKERS = 4096

_MAX_EXIF_ENTRIES = 512
_NOT_KNOWN = "it is no JPEG, PNG or WebP file"
_CUT_SHORT = "it is cut short"
_BROKEN = "its header is damaged"

_PNG_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
# Depth, colour type, compression, filter, interlace -> Pillow's mode, for the files whose samples are the pixels.
_PNG_MODES = {b"\x08\0\0\0\0": "L", b"\x08\2\0\0\0": "RGB", b"\x08\4\0\0\0": "LA", b"\x08\6\0\0\0": "RGBA"}
_IHDR = struct.Struct(">II5s")
_CHUNK = struct.Struct(">I4s")
_NUMBER = struct.Struct(">I")
_JPEG_SIZES = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended, progressive: what libjpeg decodes
_JPEG_ALONE = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """Format (`JPEG`, `PNG` or `WEBP`), size, colour channels as stored (0: not said), EXIF orientation 1 to 8.

    `scans` are a JPEG's passes over its pixels: about ten in a progressive one, however few bytes each takes.
    `data` is what to decode: the file without what no pixel depends on. With a `stored_mode` (`L`, `RGB`, `LA`, `RGBA`)
    it is only the compressed samples of a PNG.
    """

    format: str
    width: int
    height: int
    channels: int = 0
    orientation: int = 1
    scans: int = 1
    stored_mode: str = ""
    data: bytes


def read(data: bytes) -> Header:
    """Return the header; the type is decided by the bytes. Raises `ImageUnreadable`, also for files cut short."""
    try:
        if data.startswith(b"\xff\xd8\xff"):
            header = _jpeg(data)
        elif data.startswith(b"\x89PNG\r\n\x1a\n"):
            header = _png(data)
        elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            header = _webp(data)
        else:
            raise ImageUnreadable(_NOT_KNOWN)
    except (struct.error, IndexError):
        raise ImageUnreadable(_CUT_SHORT) from None
    if not (header.width and header.height):
        raise ImageUnreadable(_BROKEN)
    return header


def _jpeg(data: bytes) -> Header:
    scans = data.count(b"\xff\xda")  # FF in pixel data is always followed by 00
    if data.rfind(b"\xff\xd9") < 0:
        raise ImageUnreadable(_CUT_SHORT)
    orientation, at = 1, 2
    for _ in range(MAX_JPEG_MARKERS):
        at = data.find(b"\xff", at) + 1  # stray bytes in between are read over, as libjpeg does
        marker = data[at] if at else 0xD9
        if marker == 0xFF:
            continue
        at += 1
        if marker in _JPEG_ALONE:
            continue
        if marker in (0xD9, 0xDA):
            raise ImageUnreadable(_BROKEN)
        (length,) = struct.unpack_from(">H", data, at)
        if marker in _JPEG_SIZES:
            _, height, width, channels = struct.unpack_from(">BHHB", data, at + 2)
            return Header(
                format="JPEG",
                width=width,
                height=height,
                channels=channels,
                orientation=orientation,
                scans=scans,
                data=data,
            )
        if marker == 0xE1 and data.startswith(b"Exif\0\0", at + 2):
            orientation = orientation_of(data[at + 8 : at + length])
        at += length
    raise ImageUnreadable(_BROKEN)


def _png(data: bytes) -> Header:
    if data[12:16] != b"IHDR":
        raise ImageUnreadable(_BROKEN)
    width, height, samples = _IHDR.unpack_from(data, 16)
    chunks, orientation = _png_chunks(data)
    mode = _PNG_MODES.get(samples, "")
    if mode and not any(kind == b"tRNS" for kind, _, _ in chunks):
        kept = b"".join([data[start + 8 : end - 4] for kind, start, end in chunks if kind == b"IDAT"])
    else:
        mode, kept = "", data[:8] + b"".join([data[start:end] for _, start, end in chunks])
    return Header(format="PNG", width=width, height=height, orientation=orientation, stored_mode=mode, data=kept)


def _png_chunks(data: bytes) -> tuple[list[tuple[bytes, int, int]], int]:
    """Return the chunks that pixels depend on, checked, as (kind, start, end), and the orientation.

    Left out are text, profiles and animation, which may be bombs, as they are compressed too.
    """
    chunks: list[tuple[bytes, int, int]] = []
    view, orientation, start = memoryview(data), 1, 8
    for _ in range(MAX_PNG_CHUNKS):
        length, kind = _CHUNK.unpack_from(data, start)
        end = start + 12 + length
        if kind in _PNG_KEPT:
            if end > len(data):
                raise ImageUnreadable(_CUT_SHORT)
            if zlib.crc32(view[start + 4 : end - 4]) != _NUMBER.unpack_from(data, end - 4)[0]:
                raise ImageUnreadable("its data is damaged")
            chunks.append((kind, start, end))
            if kind == b"IEND":
                return chunks, orientation
        elif end > len(data):
            raise ImageUnreadable(_CUT_SHORT)
        elif kind == b"eXIf":
            orientation = orientation_of(data[start + 8 : end - 4])
        elif not kind[0] & 0x20:  # a capital letter: no decoding without it
            raise ImageUnreadable("it needs a PNG extension that isn't known")
        start = end
    raise ImageUnreadable("it has too many chunks")


def _webp(data: bytes) -> Header:
    kind = data[12:16]
    end = 8 + struct.unpack_from("<I", data, 4)[0]
    if end > len(data):
        raise ImageUnreadable(_CUT_SHORT)
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    elif kind == b"VP8L" and data[20] == 0x2F:
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    else:
        raise ImageUnreadable(_BROKEN)
    return Header(format="WEBP", width=width, height=height, data=data[:end])


def orientation_of(exif: bytes) -> int:
    """Return the orientation (EXIF 2.3, tag 274) that an EXIF block names: 1 to 8, and 1 when it names none."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, at)
        for entry in range(at + 2, at + 2 + 12 * min(count, _MAX_EXIF_ENTRIES), 12):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", exif, entry)
            if tag == 274 and kind == 3:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
