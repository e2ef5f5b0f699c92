"""How a live source gets past what is too old for it, without reading it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

from kafka import KafkaConsumer, TopicPartition

from pipeline.clock import Clock
from pipeline.commit import Partition
from pipeline.kafka.connection import kafka_errors
from pipeline.kafka.record import stream_of
from pipeline.source.base import Progress
from pipeline.source.kafka.options import KafkaSourceOptions

log = logging.getLogger(__name__)

_WITHIN_MS = 5_000


class Backlog:
    """What of a live source is too old to be read; nothing is where frames have no deadline.

    Owned by: the intake thread.
    """

    def __init__(self, options: KafkaSourceOptions, clock: Clock, progress: Progress) -> None:
        self._address = options.address
        self._max_age_s = options.max_age_s
        self._clock = clock
        self._progress = progress

    def is_too_old(self, newest_unix_s: float | None) -> bool:
        """Whether all that comes of a partition is too old by now, by the newest record read."""
        if newest_unix_s is None or self._max_age_s is None:
            return False
        return self._clock.now() - newest_unix_s > self._max_age_s

    def shed(self, consumer: KafkaConsumer, partitions: Collection[Partition]) -> None:
        """Sheds it unread: reading a million frames takes minutes.

        Raises:
            SourceUnavailable: the cluster doesn't answer.
        """
        if self._max_age_s is None or not partitions:
            return
        with kafka_errors(self._address):
            passed = skip_older(
                consumer,
                [TopicPartition(*each) for each in partitions],
                self._clock.now() - self._max_age_s,
            )
        for partition, count in passed.items():
            stream = stream_of(None, partition.topic, partition.partition)
            log.info("%s: passed over %d frames that are too old", stream, count)
            self._progress.pass_over(stream, count)


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
