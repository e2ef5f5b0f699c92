"""Where a consumer begins in a partition, and what it must not go on with: other records under
offsets that it knows already, and records that are gone."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal
from uuid import UUID

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError

from pipeline.errors import StageFailed
from pipeline.metrics import ConsumerMetrics
from pipeline.source.kafka.offsets import Offsets, commit_request
from pipeline.source.kafka.unreadable import Batches, Unreadable, poll_records

log = logging.getLogger(__name__)

_ANSWER_WITHIN_MS = 10_000
_MOST_QUESTIONS = 4
"""In one poll: partitions without a commit come at once, each whose records are gone alone."""
_AGAIN = (
    "its frames would get ids that others had; start the worker again to begin at its first record,"
    " or give the topic another name"
)


class TopicMadeAnew(StageFailed):
    """Under the offsets that were read stand other records now."""


class Starts:
    """The beginnings of one source's partitions, over all the consumers that it makes.

    kafka-python would go to a log's start by itself, with not a word of what it skipped, so it is
    made with ``auto_offset_reset="none"`` and asks here. A partition that wasn't there when the
    source was first opened begins at its first record, whatever ``start`` says: nobody has decided
    to skip what came before it was noticed.

    Owned by: the intake thread.
    """

    def __init__(
        self,
        topic: str,
        start: Literal["earliest", "latest"],
        offsets: Offsets,
        metrics: ConsumerMetrics,
    ) -> None:
        self._topic = topic
        self._offsets = offsets
        self._start = start
        self._metrics = metrics
        self._first_partitions: frozenset[int] = frozenset()
        self._read: set[int] = set()
        self._id: UUID | None = None

    def opened(self, consumer: KafkaConsumer, partitions: Iterable[int]) -> None:
        """Takes note of a new consumer's topic; raises as ``_require_same_topic``."""
        self._first_partitions = self._first_partitions or frozenset(partitions)
        self._require_same_topic(consumer)

    def _require_same_topic(self, consumer: KafkaConsumer) -> None:
        """Compares the topic's id (since Kafka 2.8) with what it was; costs nothing.

        Raises:
            TopicMadeAnew: it was deleted and made anew.
        """
        there = consumer._cluster.topic_id(self._topic)
        if not there or not there.int:  # an old broker, or no topic just now
            return
        self._id = self._id or there
        if there != self._id:
            raise TopicMadeAnew(
                f"{self._topic}: the topic was deleted and made anew; what wasn't read of it is"
                f" gone, and {_AGAIN}"
            )

    def note_read(self, batches: Batches) -> None:
        """A poll gave these."""
        self._read.update(each.partition for each in batches)

    def poll(
        self, consumer: KafkaConsumer, wait_s: float, most: int
    ) -> tuple[Batches, Unreadable | None]:
        """See ``poll_records``. Tells the consumer where to begin if it asks: without a commit, or
        where the records are gone that would be next.

        Raises:
            TopicMadeAnew: it was deleted and made anew.
        """
        for _ in range(_MOST_QUESTIONS):
            try:
                batches, unreadable = poll_records(consumer, wait_s, most)
            except NoOffsetForPartitionError as question:
                self._begin(consumer, question.args[0])
            except OffsetOutOfRangeError as question:
                self._leave_gap(consumer, question.args[0])
            else:
                self._require_same_topic(consumer)
                return batches, unreadable
        return {}, None

    def _begin(self, consumer: KafkaConsumer, partitions: Iterable[TopicPartition]) -> None:
        """Chooses where partitions begin of which the group has committed nothing."""
        at_end: list[TopicPartition] = []
        for each in partitions:
            if self._start == "earliest" or each.partition not in self._first_partitions:
                consumer.seek_to_beginning(each)
            else:
                at_end.append(each)
        if at_end:
            self._begin_at_end(consumer, at_end)

    def _begin_at_end(self, consumer: KafkaConsumer, partitions: Sequence[TopicPartition]) -> None:
        """What comes from now on counts, and the group gets to know it: else the next worker, where
        this one dies before its first commit, would begin at a later end. Where it can't be told,
        nothing is begun, and the next poll asks again. Blocks for seconds at most."""
        ends = consumer.end_offsets(partitions, timeout_ms=_ANSWER_WITHIN_MS)
        places = commit_request({each: (end, "") for each, end in ends.items()})
        try:
            consumer.commit(places, timeout_ms=_ANSWER_WITHIN_MS)
        except KafkaError as error:
            log.info("%s: where to begin isn't committed yet: %r", self._topic, error)
            return
        for each, end in ends.items():
            consumer.seek(each, end)

    def _leave_gap(self, consumer: KafkaConsumer, offsets: Mapping[TopicPartition, int]) -> None:
        """Goes to the first record of partitions that have no record at these offsets any more,
        and counts and tells what is lost of what wasn't done. Blocks for as long as the cluster
        takes to answer.

        Raises:
            TopicMadeAnew: a log ends before what was read of it.
        """
        starts = consumer.beginning_offsets(list(offsets), timeout_ms=_ANSWER_WITHIN_MS)
        for each, offset in offsets.items():
            start = starts[each]
            done = self._offsets.done_before_gap((each.topic, each.partition), offset, start)
            if offset > start:
                self._begin_again(each, offset)
            elif done < start:
                self._metrics.lost_records.labels(self._topic, str(each.partition)).inc(
                    start - done
                )
                log.warning(
                    "%s/%d: offsets %d to %d were deleted before this group came to them: %d"
                    " records are lost; let the topic keep them for longer than workers are behind",
                    *(self._topic, each.partition, done, start - 1, start - done),
                )
            consumer.seek(each, start)

    def _begin_again(self, at: TopicPartition, offset: int) -> None:
        """A commit beyond the log's end is none: it is of a topic that was there before."""
        if at.partition in self._read:
            raise TopicMadeAnew(
                f"{self._topic}/{at.partition}: the log ends before offset {offset}, up to which it"
                f" was read: the topic was made anew, or its broker lost records; {_AGAIN}"
            )
        log.warning(
            "%s/%d: the group has committed offset %d, beyond the log's end: the topic was made"
            " anew, or its broker lost records; beginning at the first record",
            *(self._topic, at.partition, offset),
        )
