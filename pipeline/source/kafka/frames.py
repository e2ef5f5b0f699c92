"""From a consumer's record to a frame. Pure."""

from __future__ import annotations

from pipeline.kafka.record import (
    ORIGIN,
    SHA256,
    Record,
    captured_at,
    digest_of,
    first_values,
    origin_of,
    stream_of,
    trace_id_of,
)
from pipeline.types import Frame, Position


def frame_of(
    record: Record, generation: int, received_mono_s: float, max_age_s: float | None
) -> Frame:
    """Gives the frame that a record holds. A record without a value (a tombstone) is an empty
    frame, which the decoder rejects: it has its outcome like any other."""
    headers = tuple((name, value) for name, value in record.headers)
    values = first_values(headers) if headers else {}
    return Frame(
        position=Position(record.topic, record.partition, record.offset, generation),
        stream=stream_of(record.key, record.topic, record.partition),
        payload=record.value or b"",
        captured_at=captured_at(values.get("ce_time"), record.timestamp),
        received_mono_s=received_mono_s,
        max_age_s=max_age_s,
        trace_id=trace_id_of(values.get("traceparent")),
        sha256=digest_of(values.get(SHA256)),
        origin=origin_of(values.get(ORIGIN)),
        key=record.key,
        headers=headers,
    )


def frame_without_bytes(
    position: Position, defect: str, now_unix_s: float, received_mono_s: float
) -> Frame:
    """Gives the frame of a record that can't be read: its place, and what is wrong with it."""
    return Frame(
        position=position,
        stream=stream_of(None, position.topic, position.partition),
        payload=b"",
        captured_at=now_unix_s,
        received_mono_s=received_mono_s,
        defect=f"the record can't be read: {defect}",
    )
