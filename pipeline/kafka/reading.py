"""Reads ranges of a topic without being in a group: nothing is joined, nothing committed."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from pipeline.errors import SourceUnavailable
from pipeline.kafka.address import KafkaAddress
from pipeline.kafka.connection import (
    connection_options,
    kafka_errors,
    require_crc32c,
)
from pipeline.kafka.lag import Bounds
from pipeline.kafka.record import MAX_RECORD_BYTES, Record

_POLL_MS = 500
_POLL_RECORDS = 64
_FETCH_WAIT_MS = 20
_SILENT_S = 60.0
"""Above the time that kafka-python needs to come back after its broker did, some 20 s."""
_LOOK_BYTES = 64 << 10
"""Of a partition of which only one record is wanted. One batch comes whole, whatever its size."""
_LOOK_WITHIN_S = 10.0
_CLOSE_WITHIN_MS = 2_000


def read_ranges(
    address: KafkaAddress, ranges: Mapping[int, Bounds], stop: threading.Event
) -> Generator[Sequence[Record]]:
    """Gives the records of these ranges, each partition's in order, until all were given or
    ``stop`` is set. Records that come meanwhile are beyond the ends, and aren't given. Blocks; who
    doesn't take all of them closes it.

    Raises:
        SourceUnavailable: the cluster doesn't answer, or nothing came for a minute.
    """
    with _consumer(address, max_partition_fetch_bytes=MAX_RECORD_BYTES) as consumer:
        places = {
            TopicPartition(address.topic, number): each.start
            for number, each in ranges.items()
            if each.start < each.end
        }
        _go_to(consumer, places)
        moved_mono_s = time.monotonic()
        while places and not stop.is_set():
            with kafka_errors(address):
                polled = consumer.poll(_POLL_MS, max_records=_POLL_RECORDS)
            now_at = {at: _position(consumer, at) for at in places}
            for at, records in polled.items():
                end = ranges[at.partition].end
                if wanted := [record for record in records if record.offset < end]:
                    yield wanted
            # Positions, not records: the last offsets of a range may hold none (a transaction's
            # marker, or what compaction took).
            before, places = places, _left(places, now_at, ranges)
            if places != before:
                moved_mono_s = time.monotonic()
            elif time.monotonic() - moved_mono_s > _SILENT_S:
                raise SourceUnavailable(f"{address}: no records came for {_SILENT_S:g} s")
            if len(places) < len(before):
                _go_to(consumer, places)


def written_at(address: KafkaAddress, places: Mapping[int, Bounds]) -> dict[int, float]:
    """When the first record in each of these ranges was written, in Unix seconds: of the topic's
    partitions by number. One that holds no record or whose record says no time is left out, and so
    is one that isn't read within ten seconds.

    Raises:
        SourceUnavailable: the cluster doesn't answer.
    """
    left = {TopicPartition(address.topic, number): each.start for number, each in places.items()}
    found: dict[int, float] = {}
    if not left:
        return found
    deadline = time.monotonic() + _LOOK_WITHIN_S
    with _consumer(address, max_partition_fetch_bytes=_LOOK_BYTES) as consumer:
        _go_to(consumer, left)
        while left and time.monotonic() < deadline:
            with kafka_errors(address):
                polled = consumer.poll(_POLL_MS, max_records=len(left) * _POLL_RECORDS)
            now_at = {at: _position(consumer, at) for at in left}
            for at, records in polled.items():
                first = records[0]
                if first.timestamp >= 0 and first.offset < places[at.partition].end:
                    found[at.partition] = first.timestamp / 1000
            seen = len(left)
            left = {
                at: start for at, start in _left(left, now_at, places).items() if at not in polled
            }
            if len(left) < seen:
                _go_to(consumer, left)
    return found


def _position(consumer: KafkaConsumer, at: TopicPartition) -> int:
    """The next offset of a partition; 0 while it looks for one, as retention overtook it."""
    with suppress(KafkaError):
        return consumer.position(at, timeout_ms=0) or 0
    return 0


def _left(
    places: Mapping[TopicPartition, int],
    now_at: Mapping[TopicPartition, int],
    ranges: Mapping[int, Bounds],
) -> dict[TopicPartition, int]:
    """Where those partitions are now that aren't at their range's end."""
    moved = {at: max(place, now_at[at]) for at, place in places.items()}
    return {at: place for at, place in moved.items() if place < ranges[at.partition].end}


def _go_to(consumer: KafkaConsumer, places: Mapping[TopicPartition, int]) -> None:
    """Reads these from here on, and no others: pausing some of several can stall the rest."""
    consumer.assign(list(places))
    for at, place in places.items():
        consumer.seek(at, place)


@contextmanager
def _consumer(address: KafkaAddress, **more: Any) -> Iterator[KafkaConsumer]:
    require_crc32c()
    with kafka_errors(address):
        consumer = KafkaConsumer(
            **connection_options(address),
            metrics_enabled=False,
            enable_auto_commit=False,
            # A strict worker's dead letters: those of a transaction that was given up come again.
            isolation_level="read_committed",
            # Retention may overtake a range that is being read.
            auto_offset_reset="earliest",
            allow_auto_create_topics=False,
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            fetch_max_bytes=MAX_RECORD_BYTES,
            **more,
        )
    try:
        yield consumer
    finally:
        with suppress(Exception):  # a wedged client raises anything
            consumer.close(autocommit=False, timeout_ms=_CLOSE_WITHIN_MS)
