"""What a Kafka source has committed, and what it commits next."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from kafka.future import Future
from kafka.structs import MemberState, OffsetAndMetadata

from pipeline.commit import Partition
from pipeline.metrics import Metrics
from pipeline.source.base import Progress
from pipeline.source.kafka.watch import PartitionView

log = logging.getLogger(__name__)

Generations: TypeAlias = Mapping[Partition, int]
"""Partitions that are ours, and which assignment of each it is."""
Places: TypeAlias = Mapping[Partition, tuple[int, int]]
"""Partitions' offsets to go on from, as (generation, offset): a later generation may go back."""

_ANSWERED_WITHIN_S = 5.0
_SETTLE_WITHIN_MS = 3_000
_SETTLING_POLLS = 6


class Offsets:
    """The offsets of one source, over all the consumers that it makes: to commit is what the
    journal says is durable, and no offset is committed twice or backwards.

    Owned by: the intake thread; kafka-python's I/O thread calls ``hand_over`` while that one is in
    ``poll`` or ``close``, so the two never meet.
    """

    def __init__(self, name: str, progress: Progress, metrics: Metrics) -> None:
        self._name = name
        self._progress = progress
        self._metrics = metrics
        self._committed: dict[Partition, tuple[int, int]] = {}
        self._idle: dict[Partition, int] = {}
        self._sent: Future[Any] | None = None
        self._sent_mono_s = 0.0

    def next_offset(self, view: PartitionView) -> int:
        """Up to where a partition is done."""
        partition = (self._name, view.partition)
        done = self._idle.get(partition, self._progress.next_offsets().get(partition))
        return view.position if done is None else done

    def note_idle(self, views: Sequence[PartitionView], waiting: Collection[Partition]) -> None:
        """Partitions of which nothing is under way are done up to where they are read. Their last
        record may be no frame (the marker of a transaction), and a lag that never ends is an alarm.
        """
        self._idle = {
            partition: view.position
            for view in views
            if view.position >= 0
            and (partition := (self._name, view.partition)) not in waiting
            and not self._progress.in_flight_of([partition])
        }

    def forget_idle(self) -> None:
        """The partitions changed; what was idle must be looked at again."""
        self._idle.clear()

    def forget_sent(self) -> None:
        """The consumer that was to answer is gone."""
        self._sent = None

    def send(
        self,
        consumer: KafkaConsumer,
        generations: Generations,
        next_offsets: Mapping[Partition, int],
        now_mono_s: float,
    ) -> None:
        """Commits without waiting, one commit at a time. While the group rebalances none is taken,
        so none is sent: what is given up meanwhile is handed over by ``hand_over``."""
        if self._sent is not None and not self._sent.is_done:
            if now_mono_s - self._sent_mono_s < _ANSWERED_WITHIN_S:
                return
            log.warning("%s: a commit wasn't answered; sending the next one", self._name)
        news = self._news(generations, next_offsets)
        if not news or not _is_stable(consumer):
            return
        self._sent = consumer.commit_async(_to_commit(news))
        self._sent_mono_s = now_mono_s
        self._sent.add_callback(lambda _: self._note_done(news))
        self._sent.add_errback(self._note_failure)

    def settle(self, consumer: KafkaConsumer, generations: Generations, poll_s: float) -> None:
        """Commits what is durable, and waits for it: the next owner begins there. Polls, for
        ``poll_s`` each, until a rebalance that is under way is over. Blocks for seconds."""
        for _ in range(_SETTLING_POLLS):
            news = self._news(generations, self._progress.next_offsets())
            if not news:
                return
            try:
                if _is_stable(consumer):
                    consumer.commit(_to_commit(news), timeout_ms=_SETTLE_WITHIN_MS)
                    self._note_done(news)
                    continue
            except KafkaError as error:
                self._note_failure(error)
            consumer.poll(timeout_ms=int(poll_s * 1000), max_records=1)
        log.warning("%s: left with offsets that aren't committed", self._name)

    def take_back(self, consumer: KafkaConsumer, partitions: Collection[Partition]) -> None:
        """Commits that nothing is done: what stands under these offsets now is unread, and it may
        be some seconds since it was put there. Blocks for seconds."""
        beginnings = {TopicPartition(*each): OffsetAndMetadata(0, "", -1) for each in partitions}
        try:
            consumer.commit(beginnings, timeout_ms=_SETTLE_WITHIN_MS)
        except KafkaError as error:
            self._note_failure(error)
            log.warning(
                "%s: the group's offsets are of a topic that was there before: reset them to the"
                " earliest (kafka-consumer-groups.sh), else records may be skipped: %r",
                *(self._name, error),
            )

    async def hand_over(self, consumer: KafkaConsumer, leaving: Generations) -> None:
        """Commits what is durable of partitions that are being taken away, and waits for it."""
        news = self._news(leaving, self._progress.next_offsets())
        if not news:
            return
        commit: Awaitable[Any] = consumer.commit_async(_to_commit(news))
        try:
            await commit
        except KafkaError as error:  # the next owner scores them again, under the same ids
            self._note_failure(error)
            log.warning("%s: partitions left uncommitted: %r", self._name, error)
        else:
            self._note_done(news)

    def _news(self, generations: Generations, next_offsets: Mapping[Partition, int]) -> Places:
        """What isn't committed yet of these partitions."""
        places = {
            partition: (
                generation,
                max(next_offsets.get(partition, 0), self._idle.get(partition, 0)),
            )
            for partition, generation in generations.items()
            if partition in next_offsets or partition in self._idle
        }
        return {
            partition: place
            for partition, place in places.items()
            if place > self._committed.get(partition, (0, -1))
        }

    def _note_done(self, done: Places) -> None:
        self._committed.update(done)
        self._metrics.commits.labels("done").inc()

    def _note_failure(self, error: BaseException) -> None:
        """A commit of a generation that is over fails: the next owner commits these frames."""
        self._metrics.commits.labels("failed").inc()
        log.info("%s: not committed: %r", self._name, error)


def _is_stable(consumer: KafkaConsumer) -> bool:
    return consumer.group_metadata().state == MemberState.STABLE


def _to_commit(places: Places) -> dict[TopicPartition, OffsetAndMetadata]:
    return {
        TopicPartition(*partition): OffsetAndMetadata(offset, "", -1)
        for partition, (_, offset) in places.items()
    }
