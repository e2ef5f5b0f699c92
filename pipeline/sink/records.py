"""Outcomes as Kafka records: results, and dead letters with their original bytes. Pure."""

from __future__ import annotations

from msgspec import Struct

from pipeline.kafka.record import MAX_RECORD_BYTES, first_values, result_headers, utf8
from pipeline.kafka.replayed import LEFT_OUT
from pipeline.sink.dead_letter import original_bytes
from pipeline.types import Outcome, Rejected
from pipeline.wire import encode_row

_OURS_BYTES = 64 << 10
"""Room for our own headers, and for what Kafka puts around a record."""


class Outgoing(Struct, frozen=True, gc=False):
    """A record that is to be written. Records of one key keep their order."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


def result_record(outcome: Outcome, written_at: float) -> Outgoing:
    """A result: the row as in a file, with the stream as key and the frame's id as ``ce_id``."""
    frame = outcome.frame
    return Outgoing(
        key=utf8(frame.stream),
        value=encode_row(outcome, written_at).rstrip(b"\n"),
        headers=result_headers(
            frame.frame_id, frame.stream, first_values(frame.headers).get("traceparent")
        ),
    )


def dead_letter_record(outcome: Outcome) -> Outgoing:
    """A rejected frame: its own bytes, key and headers, so that it can be put through again, and
    what was wrong with it in headers that begin with ``hr-dlq-``.

    A record that unpacks to more than can be sent (32 MiB of zeros are 32 KB on the wire) leaves
    all of its own out, and says of how many bytes: its place says where they are.
    """
    if not isinstance(outcome, Rejected):
        raise TypeError(f"only rejected frames are dead letters, got {type(outcome).__name__}")
    frame, at = outcome.frame, outcome.frame.position
    said = {
        "hr-dlq-reason": outcome.reason,
        "hr-dlq-detail": outcome.detail,
        "hr-dlq-stream": frame.stream,
        "hr-dlq-topic": at.topic,
        "hr-dlq-partition": str(at.partition),
        "hr-dlq-offset": str(at.offset),
        "hr-dlq-captured-at": f"{frame.captured_at:.6f}",
        "hr-dlq-rejected-at": f"{outcome.decided_at:.6f}",
    }
    ours = [(name, utf8(text)) for name, text in said.items()]
    theirs = [
        (name, value)
        for name, value in frame.headers
        if value is not None and not name.startswith("hr-dlq-")
    ]
    key, value = utf8(frame.stream) if frame.key is None else frame.key, original_bytes(frame)
    size_bytes = len(key) + len(value) + sum(len(each[0]) + len(each[1]) for each in theirs)
    if size_bytes > MAX_RECORD_BYTES - _OURS_BYTES:
        ours.append((LEFT_OUT, str(size_bytes).encode()))
        return Outgoing(utf8(frame.stream), b"", ours)
    return Outgoing(key, value, theirs + ours)
