"""An encoded image's type and size, read from its first bytes: the guard before any decoder runs.

Formats after their own specifications: JPEG is ITU-T T.81 (markers, B.1.1.3), PNG is the W3C's
third edition (IHDR, 11.2.1), WebP is RFC 9649 (2.5 to 2.7).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from pipeline.errors import FrameRejected

ImageKind: TypeAlias = Literal["jpeg", "png", "webp"]

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_JPEG_MAGIC = b"\xff\xd8\xff"
# SOF0..SOF15 without DHT (C4), JPG (C8) and DAC (CC), which share the range.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_HUFFMAN_CODED = frozenset({0xC0, 0xC1, 0xC2})
_START_OF_SCAN = 0xDA
_SCAN = bytes((0xFF, _START_OF_SCAN))
_REMEMBERED_BYTES = 4096
"""Quantisation and Huffman tables and a frame header are some 600."""
_APP1 = 0xE1
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_TURNED = frozenset({5, 6, 7, 8})
"""EXIF orientations whose picture lies on its side: width and height change places."""


class ImageHeader(Struct, frozen=True, gc=False):
    """What an image says of itself: its type, and its size in pixels as it is meant to be seen.

    ``is_plain``: a JPEG that every decoder understands in the same way: baseline or progressive, of
    one or three components with eight bits, and no EXIF that might turn it.
    """

    kind: ImageKind
    width: int
    height: int
    is_plain: bool = False


def read_header(data: bytes) -> ImageHeader:
    """Gives an image's type and size without decoding it, in microseconds.

    Raises:
        FrameRejected: ``empty``, ``unsupported_type``, or ``corrupt`` where the header is broken.
    """
    if not data:
        raise FrameRejected("empty", "the frame has no bytes")
    try:
        if data.startswith(_JPEG_MAGIC):
            return _read_jpeg(data)
        if data.startswith(_PNG_MAGIC):
            return _read_png(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _read_webp(data)
    except (struct.error, IndexError) as cause:
        raise FrameRejected("corrupt", "the image ends within its header") from cause
    raise FrameRejected(
        "unsupported_type",
        f"first bytes {data[:8].hex(' ')}, expected a JPEG, PNG or WebP image",
    )


def _read_png(data: bytes) -> ImageHeader:
    if data[12:16] != b"IHDR":
        raise FrameRejected("corrupt", "the PNG doesn't begin with its IHDR chunk")
    width, height = struct.unpack_from(">II", data, 16)
    if data.rfind(b"IEND") < 0:  # libpng says so too, on standard error and each time
        raise FrameRejected("corrupt", "the PNG is cut off before its IEND chunk")
    return _checked("png", width, height)


def _read_webp(data: bytes) -> ImageHeader:
    kind = data[12:16]
    if kind == b"VP8X":
        width = 1 + int.from_bytes(data[24:27], "little")
        height = 1 + int.from_bytes(data[27:30], "little")
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    else:
        raise FrameRejected("corrupt", f"unknown first WebP chunk {kind!r}")
    return _checked("webp", width, height)


def _read_jpeg(data: bytes) -> ImageHeader:
    scan = data.find(_SCAN, 2, _REMEMBERED_BYTES)
    known = _read_plain(data[: scan + 4]) if scan > 0 else None
    return known or _read_segments(data)


@lru_cache(maxsize=64)
def _read_plain(beginning: bytes) -> ImageHeader | None:
    """The same as ``_read_segments``, and None where that isn't plain. A camera's pictures begin
    alike up to their scans, unless they carry EXIF: all but the first are told from memory, at a
    fifth of the cost.

    What looks like the scan may be within a segment; such a beginning is cut off and not plain.
    """
    try:
        header = _read_segments(beginning)
    except (FrameRejected, struct.error, IndexError):
        return None
    return header if header.is_plain else None


def _read_segments(data: bytes) -> ImageHeader:
    seen: ImageHeader | None = None
    orientation: int | None = None
    try:
        for marker, body, length in _segments(data):
            if marker in _START_OF_FRAME:
                precision, height, width, components = struct.unpack_from(">BHHB", data, body)
                is_common = marker in _HUFFMAN_CODED and precision == 8 and components in {1, 3}
                seen = _checked("jpeg", width, height, is_plain=is_common)
            elif marker == _APP1 and data[body : body + 6] == b"Exif\x00\x00":
                orientation = _exif_orientation(data[body + 6 : body + length])
    except (FrameRejected, struct.error, IndexError):
        if seen is None:
            raise
        seen = replace(seen, is_plain=False)  # decoders go on behind many an oddity
    if seen is None:
        raise FrameRejected("corrupt", "the JPEG has no frame header before its scan")
    if orientation in _TURNED:
        return ImageHeader("jpeg", seen.height, seen.width)
    return seen if orientation is None else replace(seen, is_plain=False)


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """The segments before the first scan: marker, where the body begins, and its bytes.

    Raises:
        FrameRejected: ``corrupt``; something else is there.
        IndexError, struct.error: the bytes end.
    """
    at = 2
    while True:
        if data[at] != 0xFF:
            raise FrameRejected("corrupt", f"no JPEG marker at byte {at}")
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in _STANDALONE:
            at += 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker == _START_OF_SCAN:
            return
        if not marker or length < 2:
            raise FrameRejected("corrupt", f"no JPEG segment at byte {at}")
        yield marker, at + 4, length - 2
        at += 2 + length


def _exif_orientation(tiff: bytes) -> int:
    """Tag 0x0112 of the first directory; 1 (upright) where it is missing or broken."""
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(order + "I", tiff, 4)
        (entries,) = struct.unpack_from(order + "H", tiff, directory)
        for entry in range(entries):
            tag, _kind, _count, value = struct.unpack_from(
                order + "HHIH", tiff, directory + 2 + 12 * entry
            )
            if tag == 0x0112:
                return value
    except struct.error:
        return 1
    return 1


def _checked(kind: ImageKind, width: int, height: int, *, is_plain: bool = False) -> ImageHeader:
    if width < 1 or height < 1:
        raise FrameRejected("corrupt", f"the {kind} claims a size of {width}x{height}")
    return ImageHeader(kind, width, height, is_plain)
