from __future__ import annotations

import io

import pytest

from pipeline.source.multipart import (
    MAX_PART_BYTES,
    MultipartBroken,
    MultipartReader,
    boundary_of,
)


def _parts(data: bytes, count: int) -> list[bytes]:
    reader = MultipartReader(io.BytesIO(data), b"b")
    return [reader.next_part() for _ in range(count)]


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/x-mixed-replace; boundary=frame", b"frame"),
        ("multipart/x-mixed-replace;boundary=--frame", b"frame"),
        ('Multipart/X-Mixed-Replace; charset=x; Boundary="my frame"', b"my frame"),
        ("multipart/x-mixed-replace", None),
        ("image/jpeg", None),
        ("text/html; boundary=x", None),
        ("", None),
    ],
)
def test_the_boundary_is_read_as_cameras_write_it(content_type: str, boundary: bytes) -> None:
    assert boundary_of(content_type) == boundary


def test_parts_with_and_without_lengths_come_whole() -> None:
    body = b"\xff\xd8\n--b-but-not-it\r\n\x00\xff\xd9"
    with_length = b"--b\r\ncontent-length:%d\r\nX: y\r\n\r\n%b\r\n" % (len(body), body)
    without = b"--b\r\n\r\n" + body + b"\r\n"
    assert _parts(b"preamble\r\n" + with_length + without + with_length, 3) == [body] * 3


def test_the_delimiter_within_a_part_of_known_length_is_only_bytes() -> None:
    body = b"x\r\n--b\r\ny"
    assert _parts(b"--b\r\nContent-Length: %d\r\n\r\n%b\r\n" % (len(body), body), 1) == [body]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"--b\r\n",
        b"--b\r\nContent-Length: 10\r\n\r\nshort",
        b"--b\r\n\r\nno end",
        b"--b\r\nContent-Length: %d\r\n\r\n" % (MAX_PART_BYTES + 1),
        b"--b\r\n" + b"a: b\r\n" * 1000,
        b"no boundary\n" * 200_000,
        b"--b\r\n\r\n" + b"x" * (MAX_PART_BYTES + 100_000),
    ],
    ids=["nothing", "head", "cut", "endless", "huge", "headers", "noise", "unbounded"],
)
def test_a_broken_stream_is_found_within_bounds(data: bytes) -> None:
    with pytest.raises(MultipartBroken):
        _parts(data, 1)
