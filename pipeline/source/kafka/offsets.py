"""What a Kafka source has committed, and what it commits next."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Collection, Mapping, Sequence
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import AuthorizationError, KafkaError
from kafka.future import Future
from kafka.structs import MemberState, OffsetAndMetadata

from pipeline.clock import Clock
from pipeline.commit import Partition
from pipeline.metrics import ConsumerMetrics
from pipeline.source.base import Progress
from pipeline.source.kafka.caution import Caution
from pipeline.source.kafka.plan import CommitPlan, Generations, Places
from pipeline.source.kafka.watch import PartitionView

log = logging.getLogger(__name__)

_ANSWERED_WITHIN_S = 5.0
_SETTLE_WITHIN_MS = 3_000
_SETTLING_POLLS = 6


class Offsets:
    """The offsets of one source, over all the consumers that it makes: to commit is what the
    journal says is durable, and no offset is committed twice or backwards.

    Owned by: the intake thread; kafka-python's I/O thread calls ``hand_over`` while that one is in
    ``poll`` or ``close``, so the two never meet.
    """

    def __init__(
        self,
        plan: CommitPlan,
        clock: Clock,
        progress: Progress,
        metrics: ConsumerMetrics,
        caution: Caution | None = None,
    ) -> None:
        self._name = plan.topic
        self._caution = caution or Caution(progress, is_on=False)
        self._clock = clock
        self._progress = progress
        self._metrics = metrics
        self._plan = plan
        self._sent: Future[Any] | None = None
        self._sent_mono_s = 0.0
        self._not_allowed: AuthorizationError | None = None

    def next_offset(self, view: PartitionView) -> int:
        """Up to where a partition is done."""
        return self._plan.next_offset(view, self._progress.next_offsets())

    def note_idle(self, views: Sequence[PartitionView], waiting: Collection[Partition]) -> None:
        """See ``CommitPlan.note_idle``; frames of ``waiting`` were polled and not handed out."""
        in_flight = {
            partition
            for view in views
            if self._progress.in_flight_of([partition := (self._name, view.partition)])
        }
        self._plan.note_idle(views, in_flight.union(waiting))

    def forget_idle(self) -> None:
        """See ``CommitPlan.forget_idle``."""
        self._plan.forget_idle()

    def forget_sent(self) -> None:
        """The consumer that was to answer is gone."""
        self._sent = None

    def send(
        self,
        consumer: KafkaConsumer,
        generations: Generations,
        next_offsets: Mapping[Partition, int],
    ) -> None:
        """Commits without waiting, one commit at a time. While the group rebalances none is taken,
        so none is sent: what is given up meanwhile is handed over by ``hand_over``.

        Raises:
            AuthorizationError: an earlier one was refused, as no later one will be taken either.
        """
        if self._not_allowed is not None:
            raise self._not_allowed
        now_mono_s = self._clock.monotonic()
        if self._sent is not None and not self._sent.is_done:
            if now_mono_s - self._sent_mono_s < _ANSWERED_WITHIN_S:
                return
            log.warning("%s: a commit wasn't answered; sending the next one", self._name)
        news = self._plan.news(generations, next_offsets)
        if not news or not is_stable(consumer):
            return
        self._sent = consumer.commit_async(self._to_commit(news))
        self._sent_mono_s = now_mono_s
        self._sent.add_callback(lambda _: self._note_done(news, now_mono_s))
        self._sent.add_errback(self._note_failure)

    def settle(self, consumer: KafkaConsumer, generations: Generations, poll_s: float) -> None:
        """Commits what is durable, and waits for it: the next owner begins there. Polls, for
        ``poll_s`` each, until a rebalance that is under way is over. Blocks for seconds."""
        for _ in range(_SETTLING_POLLS):
            news = self._plan.news(generations, self._progress.next_offsets())
            back = self._marks_back(generations)
            if not (news or back):
                return
            try:
                if is_stable(consumer):
                    sent_mono_s = self._clock.monotonic()
                    consumer.commit({**self._to_commit(news), **back}, timeout_ms=_SETTLE_WITHIN_MS)
                    if not news:
                        return
                    self._note_done(news, sent_mono_s)
                    continue
            except KafkaError as error:
                self._note_failure(error)
            with contextlib.suppress(KafkaError):  # a partition that it gets has no place, say
                consumer.poll(timeout_ms=int(poll_s * 1000), max_records=1)
        log.warning("%s: left with offsets that aren't committed", self._name)

    def take_back(self, consumer: KafkaConsumer, partitions: Collection[Partition]) -> None:
        """Commits that nothing is done: what stands under these offsets now is unread, and it may
        be some seconds since it was put there. Blocks for seconds."""
        beginnings = commit_request(dict.fromkeys(partitions, (0, "")))
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
        news = self._plan.news(leaving, self._progress.next_offsets())
        back = self._marks_back(leaving)
        if not (news or back):
            return
        sent_mono_s = self._clock.monotonic()
        commit: Awaitable[Any] = consumer.commit_async({**self._to_commit(news), **back})
        try:
            await commit
        except KafkaError as error:  # the next owner scores them again, under the same ids
            self._note_failure(error)
            log.warning("%s: partitions left uncommitted: %r", self._name, error)
        else:
            self._note_done(news, sent_mono_s)

    def mark(
        self,
        consumer: KafkaConsumer,
        generations: Generations,
        marks: Mapping[Partition, tuple[int, str]],
    ) -> bool:
        """Commits again where partitions stand, with marks; whether the group took it. Blocks until
        it is answered, for seconds at the most."""
        if not is_stable(consumer):
            return False
        try:
            consumer.commit(commit_request(marks), timeout_ms=_SETTLE_WITHIN_MS)
        except KafkaError as error:
            self._note_failure(error)
            return False
        self._plan.note_done(
            {each: (generations[each], offset) for each, (offset, _) in marks.items()}
        )
        return True

    def leave(self, generations: Generations) -> None:
        """These partitions go; what is durable of them stays known, for when they come back."""
        self._plan.leave(generations, self._progress.next_offsets())
        self._caution.leave(generations.keys())

    def go_on(
        self, consumer: KafkaConsumer, partitions: Collection[Partition]
    ) -> dict[Partition, int]:
        """Takes a consumer behind what was finished of new partitions under another one and could
        not be committed. Gives where it went. Blocks for seconds at most.

        Raises:
            KafkaError: the cluster doesn't answer.
        """
        places: dict[Partition, int] = {}
        for partition in filter(self._plan.has_left, partitions):
            there = TopicPartition(*partition)
            committed = consumer.committed(there, timeout_ms=_SETTLE_WITHIN_MS)
            place = self._plan.go_on(partition, committed)
            if place is not None:
                log.info("%s/%d: going on at offset %d, up to which all is done", *partition, place)
                consumer.seek(there, place)
                places[partition] = place
        return places

    def done_before_gap(self, partition: Partition, offset: int, log_start: int) -> int:
        """See ``CommitPlan.done_before_gap``."""
        return self._plan.done_before_gap(partition, offset, log_start)

    def _marks_back(self, leaving: Generations) -> dict[TopicPartition, OffsetAndMetadata]:
        """What was marked and is given up in good order isn't to blame for anything."""
        return commit_request(
            self._caution.to_take_back(leaving.keys(), self._progress.next_offsets())
        )

    def _to_commit(self, places: Places) -> dict[TopicPartition, OffsetAndMetadata]:
        return commit_request(
            {
                partition: (offset, self._caution.metadata(partition, offset))
                for partition, (_, offset) in places.items()
            }
        )

    def _note_done(self, done: Places, sent_mono_s: float) -> None:
        self._plan.note_done(done)
        self._metrics.commit_duration.observe(self._clock.monotonic() - sent_mono_s)
        self._metrics.commits.labels("done").inc()

    def _note_failure(self, error: BaseException) -> None:
        """A commit of a generation that is over fails: the next owner commits these frames."""
        if isinstance(error, AuthorizationError):
            self._not_allowed = error
        self._metrics.commits.labels("failed").inc()
        log.info("%s: not committed: %r", self._name, error)


def commit_request(
    places: Mapping[Partition, tuple[int, str]],
) -> dict[TopicPartition, OffsetAndMetadata]:
    """Offsets and their metadata, as kafka-python takes them."""
    return {
        TopicPartition(*partition): OffsetAndMetadata(offset, text, -1)
        for partition, (offset, text) in places.items()
    }


def is_stable(consumer: KafkaConsumer) -> bool:
    """Whether the consumer is a member of a group that isn't rebalancing."""
    return consumer.group_metadata().state == MemberState.STABLE
