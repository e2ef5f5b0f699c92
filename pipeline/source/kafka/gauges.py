"""What a Kafka source shows of itself: how far it is behind, how long it was out of its group."""

from __future__ import annotations

from collections.abc import Collection

from pipeline.commit import Partition
from pipeline.metrics import ConsumerMetrics
from pipeline.source.kafka.ages import RecordAges
from pipeline.source.kafka.unreadable import Batches
from pipeline.source.kafka.watch import PartitionView


class ConsumerGauges:
    """The metrics of one consumer. Owned by: the intake thread."""

    def __init__(self, topic: str, metrics: ConsumerMetrics) -> None:
        self._topic = topic
        self._metrics = metrics
        self._ages = RecordAges()
        self._shown: frozenset[Partition] = frozenset()
        self._unstable_since_mono_s: float | None = None

    def note_poll(self, batches: Batches) -> None:
        """A poll gave these."""
        for (topic, number), records in batches.items():
            first_at, last_at = records[0].timestamp / 1000, records[-1].timestamp / 1000
            self._ages.note((topic, number), records[-1].offset, first_at, last_at)

    def newest(self, partition: Partition) -> float | None:
        """When the newest record was made that was read, in Unix seconds."""
        return self._ages.newest(partition)

    def show_lag(self, view: PartitionView, next_offset: int, now_unix_s: float) -> None:
        """``next_offset`` is up to where the partition is done."""
        labels = (self._topic, str(view.partition))
        age_s = self._ages.age_s((self._topic, view.partition), next_offset, view.end, now_unix_s)
        self._metrics.lag.labels(*labels).set(max(0, view.end - next_offset))
        self._metrics.lag_seconds.labels(*labels).set(age_s)

    def time_rebalance(self, now_mono_s: float, *, is_stable: bool) -> None:
        """Measures from the look that found the group unstable to the one that finds it stable."""
        if not is_stable:
            self._unstable_since_mono_s = self._unstable_since_mono_s or now_mono_s
        elif self._unstable_since_mono_s is not None:
            self._metrics.rebalance_duration.observe(now_mono_s - self._unstable_since_mono_s)
            self._unstable_since_mono_s = None

    def follow(self, owned: Collection[Partition], rebalances: int) -> frozenset[Partition]:
        """The partitions changed ``rebalances`` times; gives those that are new."""
        self._metrics.rebalances.inc(rebalances)
        added = frozenset(owned) - self._shown
        for topic, number in self._shown - frozenset(owned):
            self._metrics.lag.remove(topic, str(number))
            self._metrics.lag_seconds.remove(topic, str(number))
        self._shown = frozenset(owned)
        self._ages.keep_only(owned)
        return added
