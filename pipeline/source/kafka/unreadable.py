"""Records that kafka-python can't read, and how a consumer gets past one."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import CorruptRecordError

from pipeline.commit import Partition
from pipeline.source.kafka.frames import Record

Batches: TypeAlias = Mapping[TopicPartition, Sequence[Record]]
"""What a poll gives: each partition's records in order, at least one."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that was stepped over."""

    partition: TopicPartition
    offset: int
    reason: str


def poll_records(
    consumer: KafkaConsumer, timeout_s: float, most: int
) -> tuple[Batches, Unreadable | None]:
    """Polls, and steps over a record that can't be read; it comes behind those that were.

    kafka-python 3.0.12 raises at such a record (a header's name that isn't UTF-8, a checksum that
    is wrong, a batch that can't be decompressed) without saying where, delivers nothing of the
    partition from then on, and may never return from the poll after that. It keeps the partition
    in its fetcher, and the error too where other records came first.
    """
    fetcher = consumer._fetcher
    try:
        batches = consumer.poll(timeout_ms=int(timeout_s * 1000), max_records=most)
    except CorruptRecordError as error:
        if fetcher._next_partition_records is None:
            raise
        return {}, _step_over(consumer, fetcher._next_partition_records.topic_partition, error)
    kept = fetcher._next_in_line_exception_metadata
    if kept is None or not isinstance(kept.exception, CorruptRecordError):
        return batches, None
    return batches, _step_over(consumer, kept.partition, kept.exception)


def ask_again(
    consumer: KafkaConsumer,
    partitions: Collection[Partition],
    batches: Batches,
    unreadable: Unreadable | None,
) -> tuple[Batches, Unreadable | None]:
    """Goes back to before what a poll gave of these partitions; gives what it gave of others."""
    for there, records in batches.items():
        if there in partitions:
            consumer.seek(there, records[0].offset)
    # What can't be read comes behind the records of its partition, if there are any.
    if unreadable is not None and unreadable.partition in set(partitions) - batches.keys():
        consumer.seek(unreadable.partition, unreadable.offset)
    return without(partitions, batches, unreadable)


def without(
    partitions: Container[Partition], batches: Batches, unreadable: Unreadable | None
) -> tuple[Batches, Unreadable | None]:
    """What a poll gave of other partitions than these."""
    kept = {there: records for there, records in batches.items() if there not in partitions}
    if unreadable is not None and unreadable.partition in partitions:
        return kept, None
    return kept, unreadable


def _step_over(
    consumer: KafkaConsumer, partition: TopicPartition, error: CorruptRecordError
) -> Unreadable | None:
    if partition not in consumer.assignment():  # it was given up during the poll
        return None
    offset = consumer.position(partition, timeout_ms=0)
    if offset is None:
        raise error
    # Its records are let go, and the error with them, once they aren't where the consumer stands.
    consumer.seek(partition, offset + 1)
    return Unreadable(partition, offset, str(error))
