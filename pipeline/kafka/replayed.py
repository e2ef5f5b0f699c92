"""What a replay makes of a record: the same frame again, with the identity it had. Pure."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline.kafka.record import ORIGIN, Record, first_values, origin_of, utf8

LETTER = "hr-dlq-"
"""How the headers begin that say why a frame was rejected: sink/records.py writes them."""
LEFT_OUT = f"{LETTER}left-out-bytes"
"""Of a letter without its frame's own bytes, key and headers: they were more than can be sent."""


@dataclass(frozen=True, slots=True)
class Letter:
    """What a dead letter says of itself: why it was rejected, and where it stood before; an empty
    shell has nothing that could be put through again."""

    reason: str
    topic: str
    partition: int
    offset: int
    captured_at: float | None
    is_empty_shell: bool = False


@dataclass(frozen=True, slots=True)
class Again:
    """A record that is to be sent. ``partition`` is None where the key decides."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


def letter_of(record: Record) -> Letter | None:
    """Reads a dead letter; None for any other record."""
    values = first_values(record.headers)
    try:
        return Letter(
            reason=values[f"{LETTER}reason"].decode(),
            topic=values[f"{LETTER}topic"].decode(),
            partition=int(values[f"{LETTER}partition"]),
            offset=int(values[f"{LETTER}offset"]),
            captured_at=_unix_s(values.get(f"{LETTER}captured-at")),
            is_empty_shell=LEFT_OUT in values,
        )
    except (KeyError, ValueError):
        return None


def again(
    record: Record,
    letter: Letter | None,
    to_topic: str | None,
    partitions_of: Mapping[str, Container[int]],
) -> Again:
    """Makes the record that puts a frame through again: its key, its bytes, its own headers.

    It says in ``hr-origin`` where the frame stood first, so that its result has the id of the first
    one; and in ``ce_time`` when it was captured, where only the record's own time said that. It
    goes back to the topic and partition it came from, or to ``to_topic``, where the key decides
    unless the topic has the same name. ``partitions_of`` are the target cluster's topics.
    """
    values = first_values(record.headers)
    topic, partition, offset = (
        (record.topic, record.partition, record.offset)
        if letter is None
        else (letter.topic, letter.partition, letter.offset)
    )
    origin = origin_of(values.get(ORIGIN)) or f"{topic}/{partition}/{offset}"
    headers = [
        (name, value)
        for name, value in record.headers
        # kafka-python can't send a header without a value, and an empty one says something else.
        if value is not None and name != ORIGIN and not name.startswith(LETTER)
    ]
    headers.append((ORIGIN, utf8(origin)))
    if "ce_time" not in values:
        headers += _capture(record, letter)
    target = topic if to_topic is None else to_topic
    keeps_place = target == topic and partition in partitions_of.get(target, ())
    # Kafka takes no record without key and value; to a worker both forms are an empty frame.
    value = b"" if record.value is None and record.key is None else record.value
    return Again(target, partition if keeps_place else None, record.key, value, headers)


def _capture(record: Record, letter: Letter | None) -> list[tuple[str, bytes]]:
    unix_s = record.timestamp / 1000 if record.timestamp >= 0 else None
    if letter is not None and letter.captured_at is not None:
        unix_s = letter.captured_at
    if unix_s is None:
        return []
    try:
        moment = datetime.fromtimestamp(unix_s, UTC)
    except (ValueError, OverflowError, OSError):  # no year of four digits
        return []
    return [("ce_time", moment.isoformat(timespec="microseconds").replace("+00:00", "Z").encode())]


def _unix_s(header: bytes | None) -> float | None:
    try:
        unix_s = math.nan if header is None else float(header)
    except ValueError:
        return None
    return unix_s if math.isfinite(unix_s) else None
