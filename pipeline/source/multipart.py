"""Reads the pictures of an MJPEG stream: ``multipart/x-mixed-replace`` (RFC 2046, 5.1) as cameras
write it, which is not always as they should."""

from __future__ import annotations

import re
from typing import Protocol

MAX_PART_BYTES = 32 * 1024 * 1024
_MAX_LINE_BYTES = 64 * 1024
_MAX_HEADER_LINES = 64
_MAX_BETWEEN_BYTES = 1024 * 1024
_BOUNDARY = re.compile(r"boundary=(?:\"([^\"]+)\"|([^\s;]+))", re.IGNORECASE)


class MultipartBroken(Exception):
    """The stream ended, or isn't what it claims to be."""


class ByteReader(Protocol):
    """What is needed of a response: at its end both give fewer bytes than asked for."""

    def readline(self, limit: int = -1, /) -> bytes:
        """Gives the bytes up to and with the next line feed, at most ``limit``."""
        ...

    def read(self, amount: int | None = -1, /) -> bytes:
        """Gives ``amount`` bytes."""
        ...


def boundary_of(content_type: str) -> bytes | None:
    """The boundary that a ``Content-Type`` names, without leading dashes; None if it isn't MJPEG.

    Many cameras count the two dashes of the delimiter to the boundary, so dashes say nothing.
    """
    kind = content_type.partition(";")[0].strip().lower()
    match = _BOUNDARY.search(content_type)
    if not kind.startswith("multipart/") or match is None:
        return None
    return (match[1] or match[2]).strip().lstrip("-").encode("latin-1")


class MultipartReader:
    """Takes one part after another from a response. Owned by: the camera's thread."""

    def __init__(self, reader: ByteReader, boundary: bytes) -> None:
        self._reader = reader
        self._boundary = boundary
        self._is_at_headers = False

    def next_part(self) -> bytes:
        """Gives the next part's body; blocks as long as ``reader`` does.

        Raises:
            MultipartBroken: the stream ended, or a part, line or header is beyond its limit.
        """
        if not self._is_at_headers:
            self._skip_to_delimiter()
        self._is_at_headers = False
        length = self._read_headers()
        if length is None:
            return self._read_to_delimiter()
        if length > MAX_PART_BYTES:
            raise MultipartBroken(f"a part of {length} bytes, at most {MAX_PART_BYTES} are read")
        body = self._reader.read(length)
        if len(body) < length:
            raise MultipartBroken("the stream ended within a picture")
        return body

    def _skip_to_delimiter(self) -> None:
        skipped_bytes = 0
        while not self._is_delimiter(line := self._line()):
            skipped_bytes += len(line)
            if skipped_bytes > _MAX_BETWEEN_BYTES:
                raise MultipartBroken(f"no boundary {self._boundary!r} within a megabyte")

    def _read_headers(self) -> int | None:
        """Skips the part's headers; gives its ``Content-Length`` where it has one."""
        length: int | None = None
        for _ in range(_MAX_HEADER_LINES):
            line = self._line().strip()
            if not line:
                return length
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-length" and value.strip().isdigit():
                length = int(value)
        raise MultipartBroken(f"a part with more than {_MAX_HEADER_LINES} headers")

    def _read_to_delimiter(self) -> bytes:
        """A part without a length ends at the next delimiter, whose line break isn't its own."""
        body = bytearray()
        while not self._is_delimiter(line := self._line()):
            body += line
            if len(body) > MAX_PART_BYTES:
                raise MultipartBroken(f"a part without an end within {MAX_PART_BYTES} bytes")
        self._is_at_headers = True
        return bytes(body.removesuffix(b"\n").removesuffix(b"\r"))

    def _line(self) -> bytes:
        line = self._reader.readline(_MAX_LINE_BYTES)
        if not line:
            raise MultipartBroken("the camera ended the stream")
        return line

    def _is_delimiter(self, line: bytes) -> bool:
        return line.startswith(b"--") and line.strip().lstrip(b"-") == self._boundary
