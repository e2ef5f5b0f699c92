"""Which partitions are ours, and what becomes of their frames when they are taken away."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.subscription_state import AsyncConsumerRebalanceListener
from kafka.future import Future

from pipeline.commit import Partition
from pipeline.source.base import Progress
from pipeline.source.kafka.member import forget_asked_offsets
from pipeline.source.kafka.offsets import Offsets
from pipeline.types import Position

log = logging.getLogger(__name__)


class Assignment(AsyncConsumerRebalanceListener):
    """The partitions of one consumer, and the generation of each.

    A partition that is taken away is drained: its frames in flight may finish for ``drain_s``, what
    is durable is committed, and what isn't belongs to the next owner; its generation rises, so late
    outcomes move nothing.

    kafka-python calls the listener on its I/O thread, and only while the owner is in ``poll`` or
    ``close``: so the two never meet. Blocking there would stop the heartbeats, hence ``async``, and
    the waiting is done by a thread of its own that resolves a ``kafka.future.Future`` (a plain
    listener that commits raises, the member never joins again; ``asyncio.sleep`` raises as well).

    Owned by: the intake thread.
    """

    def __init__(
        self, consumer: KafkaConsumer, progress: Progress, offsets: Offsets, drain_s: float
    ) -> None:
        self._consumer = consumer
        self._progress = progress
        self._offsets = offsets
        self._drain_s = drain_s
        self._generations: dict[Partition, int] = {}
        self._owned: set[Partition] = set()
        self.is_paused = False
        self.rebalances = 0

    @property
    def owned(self) -> frozenset[Partition]:
        """The partitions that are ours now."""
        return frozenset(self._owned)

    @property
    def generations(self) -> Mapping[Partition, int]:
        """The partitions that are ours now, and how often each was assigned to this process."""
        return {partition: self.generation(partition) for partition in self._owned}

    def owns(self, partition: Partition) -> bool:
        """Whether the partition is ours now."""
        return partition in self._owned

    def is_current(self, position: Position) -> bool:
        """Whether a frame was polled in its partition's present assignment to us."""
        partition = position.topic_partition
        return self.owns(partition) and position.generation == self.generation(partition)

    def generation(self, partition: Partition) -> int:
        """How often the partition was assigned to this process, from 1."""
        return self._generations.get(partition, 0)

    def begin_after(self, before: Assignment | None) -> None:
        """Goes on counting where the consumer before this one stopped."""
        if before is not None:
            self._generations = dict(before._generations)

    def closing(self) -> None:
        """Nothing more will finish: a drain doesn't wait from now on."""
        self._drain_s = 0.0

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """kafka-python's: these partitions are ours from now on, besides those that are already."""
        forget_asked_offsets(self._consumer)
        added = {(each.topic, each.partition) for each in assigned} - self._owned
        for partition in added:
            self._generations[partition] = self.generation(partition) + 1
        self._owned |= added
        self.rebalances += 1
        if self.is_paused:  # new partitions come unpaused
            self._consumer.pause(*(TopicPartition(*each) for each in added))
        if added:
            log.info("got partitions %s", _named(added))

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """kafka-python's: these partitions will be another's when this returns."""
        leaving = frozenset((each.topic, each.partition) for each in revoked)
        if self._drain_s and self._progress.in_flight_of(leaving):
            await self._drained(leaving)
        await self._offsets.hand_over(
            self._consumer, {each: self.generation(each) for each in leaving & self._owned}
        )
        self._drop(leaving)
        log.info("gave up partitions %s", _named(leaving))

    async def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        """kafka-python's: these partitions are another's already; nothing may be committed."""
        gone = frozenset((each.topic, each.partition) for each in lost)
        self._drop(gone)
        log.warning("lost partitions %s: this worker was silent for too long", _named(gone))

    def drop_all(self) -> None:
        """The consumer is gone."""
        self._drop(self.owned)

    def _drop(self, partitions: Iterable[Partition]) -> None:
        leaving = frozenset(partitions)
        self._offsets.leave({each: self.generation(each) for each in leaving & self._owned})
        self._progress.revoke(leaving)
        # Now, not when the poll comes back: it may raise instead, and what is committed then of a
        # partition that was lost and given back would go back behind another worker's commits.
        self._offsets.forget_idle()
        self._owned -= leaving
        self.rebalances += 1

    def _drained(self, partitions: frozenset[Partition]) -> Future[bool]:
        done: Future[bool] = Future()

        def wait() -> None:
            done.success(self._progress.wait_finished(partitions, self._drain_s))

        threading.Thread(target=wait, name="revocation", daemon=True).start()
        return done


def _named(partitions: Iterable[Partition]) -> str:
    return ", ".join(f"{topic}/{number}" for topic, number in sorted(partitions)) or "none"
