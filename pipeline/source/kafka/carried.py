"""Frames that a Kafka source has polled and not handed out yet."""

from __future__ import annotations

import logging
from collections import deque

from pipeline.clock import Clock
from pipeline.commit import Partition
from pipeline.source.kafka.assignment import Assignment
from pipeline.source.kafka.frames import frame_of, frame_without_bytes
from pipeline.source.kafka.unreadable import Batches, Unreadable
from pipeline.types import Frame, Position

log = logging.getLogger(__name__)


class Carried:
    """What polls gave, as ``frames`` in the order of their partitions, of partitions that are ours.

    Owned by: the intake thread.
    """

    def __init__(self, clock: Clock, max_age_s: float | None) -> None:
        self._clock = clock
        self._max_age_s = max_age_s
        self.frames: deque[Frame] = deque()

    @property
    def partitions(self) -> set[Partition]:
        """Of which partitions there are frames."""
        return {frame.position.topic_partition for frame in self.frames}

    def add(
        self,
        batches: Batches,
        unreadable: Unreadable | None,
        assignment: Assignment,
        now_mono_s: float,
    ) -> None:
        """What a poll gave; of partitions that went meanwhile nothing."""
        for there, records in batches.items():
            partition = (there.topic, there.partition)
            if assignment.owns(partition):
                generation = assignment.generation(partition)
                self.frames.extend(
                    frame_of(record, generation, now_mono_s, self._max_age_s) for record in records
                )
        if unreadable is not None:
            self._add_unreadable(unreadable, assignment, now_mono_s)

    def _add_unreadable(
        self, record: Unreadable, assignment: Assignment, now_mono_s: float
    ) -> None:
        """Its outcome is a rejection, like that of any frame that can never work."""
        partition = (record.partition.topic, record.partition.partition)
        log.warning("the record %s/%d/%d can't be read", *partition, record.offset)
        if assignment.owns(partition):
            position = Position(*partition, record.offset, assignment.generation(partition))
            self.frames.append(
                frame_without_bytes(position, record.reason, self._clock.now(), now_mono_s)
            )

    def keep_current(self, assignment: Assignment) -> None:
        """Lets go of frames that are another worker's now."""
        self.frames = deque(each for each in self.frames if assignment.is_current(each.position))

    def clear(self) -> None:
        """The consumer is gone: they come again."""
        self.frames.clear()
