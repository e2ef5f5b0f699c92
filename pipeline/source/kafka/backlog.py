"""How a live source gets past what is too old for it, without reading it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from kafka import KafkaConsumer, TopicPartition

_WITHIN_MS = 5_000


def skip_older(
    consumer: KafkaConsumer, partitions: Collection[TopicPartition], oldest_unix_s: float
) -> Mapping[TopicPartition, int]:
    """Moves partitions to their first record that was made at ``oldest_unix_s`` or later, never
    back; gives how many offsets that passes over. Blocks for seconds at the most.

    Raises:
        KafkaError: the cluster doesn't answer.
    """
    # The ends come first: a record that arrives between the two questions isn't passed over.
    ends = consumer.end_offsets(list(partitions), timeout_ms=_WITHIN_MS)
    moment_ms = max(0, int(oldest_unix_s * 1000))
    found = consumer.offsets_for_times(dict.fromkeys(partitions, moment_ms), timeout_ms=_WITHIN_MS)
    passed: dict[TopicPartition, int] = {}
    for partition in partitions:
        there = found.get(partition)
        target = ends[partition] if there is None else there.offset
        position = consumer.position(partition, timeout_ms=_WITHIN_MS)
        if position is not None and position < target:
            consumer.seek(partition, target)
            passed[partition] = target - position
    return passed
