from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import FrameRejected
from pipeline.image_header import read_header
from pipeline.opencv import cv2
from tests.pictures import corners, encode, with_exif_orientation, with_size

PROGRESSIVE = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
RESTARTS = (cv2.IMWRITE_JPEG_RST_INTERVAL, 4)


@pytest.mark.parametrize(
    ("suffix", "options", "kind"),
    [
        (".jpg", (), "jpeg"),
        (".jpg", PROGRESSIVE, "jpeg"),
        (".jpg", RESTARTS, "jpeg"),
        (".png", (), "png"),
        (".webp", (cv2.IMWRITE_WEBP_QUALITY, 80), "webp"),
        (".webp", (cv2.IMWRITE_WEBP_QUALITY, 101), "webp"),
    ],
)
@pytest.mark.parametrize(("width", "height"), [(1, 1), (64, 48), (641, 359)])
def test_type_and_size_are_what_was_encoded(
    suffix: str, options: tuple[int, ...], kind: str, width: int, height: int
) -> None:
    header = read_header(encode(corners(width, height), suffix, *options))
    assert (header.kind, header.width, header.height) == (kind, width, height)


def test_an_animated_or_transparent_webp_has_its_canvas_size() -> None:
    bgra = np.dstack([corners(50, 40), np.full((40, 50), 100, np.uint8)])
    header = read_header(encode(bgra, ".webp", cv2.IMWRITE_WEBP_QUALITY, 50))
    assert (header.width, header.height) == (50, 40)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_jpeg_has_the_size_that_it_is_seen_in(orientation: int) -> None:
    data = with_exif_orientation(encode(corners(64, 48)), orientation)
    header = read_header(data)
    seen = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert (header.height, header.width) == seen.shape[:2]


def test_a_bomb_tells_its_size_without_being_decoded() -> None:
    header = read_header(with_size(encode(corners()), 65500, 65500))
    assert (header.width, header.height) == (65500, 65500)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello, I am a text file", "unsupported_type"),
        (b"GIF89a" + bytes(20), "unsupported_type"),
        (b"\xff\xd8\xff", "corrupt"),
        (b"\xff\xd8\xff\xe0\x00\x00", "corrupt"),
        (b"\x89PNG\r\n\x1a\n", "corrupt"),
        (b"\x89PNG\r\n\x1a\n" + bytes(8) + b"IDAT" + bytes(20), "corrupt"),
        (b"RIFF\x00\x00\x00\x00WEBPJUNK" + bytes(20), "corrupt"),
        (with_size(encode(corners()), 0, 0), "corrupt"),
    ],
)
def test_what_is_no_image_is_rejected_with_its_reason(data: bytes, reason: str) -> None:
    with pytest.raises(FrameRejected) as rejection:
        read_header(data)
    assert rejection.value.reason == reason


@given(st.binary(max_size=200), st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF"]))
def test_garbage_behind_a_magic_number_is_rejected_or_has_a_size(tail: bytes, magic: bytes) -> None:
    try:
        header = read_header(magic + tail)
    except FrameRejected:
        return
    assert header.width >= 1
    assert header.height >= 1


@settings(max_examples=200)
@given(st.integers(0, 2000), st.integers(0, 255))
def test_a_flipped_byte_never_raises_anything_else(at: int, value: int) -> None:
    data = bytearray(with_exif_orientation(encode(corners()), 6))
    data[at % len(data)] = value
    try:
        read_header(bytes(data))
    except FrameRejected:
        return


def test_broken_exif_means_upright() -> None:
    jpeg = encode(corners(64, 48))
    body = b"Exif\x00\x00II*\x00" + struct.pack("<I", 4000)
    broken = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]
    assert (read_header(broken).width, read_header(broken).height) == (64, 48)


@pytest.mark.parametrize(("width", "height"), [(64, 0), (0, 48), (0, 0)])
def test_a_jpeg_without_a_size_is_rejected(width: int, height: int) -> None:
    with pytest.raises(FrameRejected, match="claims a size") as rejected:
        read_header(with_size(encode(corners()), width, height))
    assert rejected.value.reason == "corrupt"


@settings(max_examples=300)
@given(
    st.lists(
        st.sampled_from([b"\xff\xda", b"\xff\xc0", b"\xff", b"\x00\x0c", b"\x03", b"a"])
        | st.binary(),
        max_size=12,
    ).map(b"".join),
    st.sampled_from([1, 6]),
    st.booleans(),
)
def test_a_comment_that_looks_like_a_scan_changes_nothing(
    comment: bytes, orientation: int, comes_first: bool
) -> None:
    picture = encode(corners(64, 48))
    if orientation > 1:
        picture = with_exif_orientation(picture, orientation)
    segment = b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment
    at = 2 if comes_first else picture.index(b"\xff\xda")
    commented = picture[:at] + segment + picture[at:]
    for _ in range(2):  # the second time from memory
        assert read_header(commented) == read_header(picture)
