"""Reads topics to their ends, over and over, each record once."""

from __future__ import annotations

from collections.abc import Sequence

from kafka import KafkaConsumer
from kafka.structs import TopicPartition

from tests.kafka.row import Row

_FETCH_WAIT_MS = 20


class Tail:
    """All the records of a topic so far, which may not be there yet; those of a transaction once it
    is committed. Owned by: the test's thread.

    Partitions are read from their beginnings, in no group.
    """

    def __init__(self, servers: str, topic: str) -> None:
        self._topic = topic
        self._consumer = KafkaConsumer(
            bootstrap_servers=servers,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            reconnect_backoff_max_ms=500,
        )
        self._partitions: list[TopicPartition] = []
        self.rows: list[Row] = []

    def refresh(self) -> Sequence[Row]:
        """Reads on to the end, as it is now.

        Raises:
            KafkaError: the broker doesn't answer.
        """
        if not self._partitions:
            numbers = self._consumer.partitions_for_topic(self._topic) or set()
            self._partitions = [TopicPartition(self._topic, each) for each in sorted(numbers)]
            self._consumer.assign(self._partitions)
        if not self._partitions:
            return self.rows
        ends = self._consumer.end_offsets(self._partitions)
        while any((self._consumer.position(each) or 0) < ends[each] for each in self._partitions):
            batches = self._consumer.poll(timeout_ms=200)
            for records in batches.values():
                self.rows += map(Row.of, records)
        return self.rows

    def close(self) -> None:
        """Lets go of the connection."""
        self._consumer.close(autocommit=False)
