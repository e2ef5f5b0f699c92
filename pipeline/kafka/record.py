"""A frame as a Kafka record: headers after CloudEvents' Kafka binding, all of them optional. Pure.

CloudEvents 1.0.2, Kafka protocol binding 3.2 (binary content mode); W3C Trace Context, traceparent.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

FRAME_TYPE = "io.headrace.frame.v1"
RESULT_TYPE = "io.headrace.result.v1"
MAX_RECORD_BYTES = 16 << 20
"""Of a record that we send. Kafka's own default is 1 MiB, and a 4K JPEG has more."""

SHA256 = "hr-sha256"
"""Our own header: the hex digest of the value, which alone shows a flipped bit in a JPEG."""

ORIGIN = "hr-origin"
"""Our own header of a frame that is put through again: ``topic/partition/offset`` of its first
record, which is its id. Whoever may write frames may say whose result a frame's takes the place of,
just as it may write any frame."""

_ORIGIN = re.compile(r"[^\x00-\x1f\x7f]{1,1000}/\d{1,10}/\d{1,19}", re.ASCII)
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.*")
_LONGEST_TRACEPARENT = 512
"""Version 0 has 55 bytes, later ones may have more."""
_LONGEST_STREAM = 256
"""Of a stream's name, in characters: keys come from outside and end in labels, rows and memory."""


class Record(Protocol):
    """What is read of kafka-python's ``ConsumerRecord``. ``timestamp`` is in milliseconds since
    1970; -1 where there is none."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


def stream_of(key: bytes | None, topic: str, partition: int) -> str:
    """The stream that a record belongs to: its key, or its partition where it has none."""
    if not key:
        return f"{topic}-{partition}"
    return key.decode("utf-8", "backslashreplace")[:_LONGEST_STREAM]


def first_values(headers: Iterable[tuple[str, bytes | None]]) -> Mapping[str, bytes]:
    """Headers by name; of several with one name the first counts, of those without a value none."""
    values: dict[str, bytes] = {}
    for name, value in headers:
        if value is not None:
            values.setdefault(name, value)
    return values


def captured_at(ce_time: bytes | None, record_timestamp_ms: int) -> float:
    """When the frame was captured, in Unix seconds: as the header says, else the record's time."""
    if ce_time is not None:
        try:
            moment = datetime.fromisoformat(ce_time.decode("ascii"))
            unix_s = moment.timestamp()
        except (ValueError, OverflowError, OSError):
            unix_s = math.nan
        if math.isfinite(unix_s):
            return unix_s
    return max(0, record_timestamp_ms) / 1000


def trace_id_of(traceparent: bytes | None) -> str | None:
    """The trace that a frame belongs to, 32 hex digits; None where the header isn't one."""
    match = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    return None if match is None or set(match[1]) == {ord("0")} else match[1].decode("ascii")


def digest_of(sha256: bytes | None) -> str | None:
    """The promised digest of the value in lower case, as it stands there: a wrong form is a
    promise that nothing can keep."""
    return None if sha256 is None else sha256.decode("ascii", "replace").strip().lower()


def origin_of(header: bytes | None) -> str | None:
    """The id that a frame had before it was put through again; None where the header isn't one."""
    if header is None:
        return None
    try:
        text = header.decode()
    except UnicodeDecodeError:
        return None
    return text if _ORIGIN.fullmatch(text) else None


def utf8(text: str) -> bytes:
    """A name as bytes. A file's name may hold half of a surrogate pair, which UTF-8 can't."""
    return text.encode("utf-8", "backslashreplace")


def event_headers(event_id: str, stream: str, event_type: str) -> list[tuple[str, bytes]]:
    """The headers that CloudEvents requires of every record."""
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", utf8(event_id)),
        ("ce_source", utf8(stream)),
        ("ce_type", utf8(event_type)),
    ]


def result_headers(
    frame_id: str, stream: str, traceparent: bytes | None
) -> list[tuple[str, bytes]]:
    """The headers of a result's record. ``ce_id`` is the frame's: the same at each delivery."""
    headers = [
        *event_headers(frame_id, stream, RESULT_TYPE),
        ("content-type", b"application/json"),
    ]
    if traceparent is not None and len(traceparent) <= _LONGEST_TRACEPARENT:
        headers.append(("traceparent", traceparent))
    return headers
