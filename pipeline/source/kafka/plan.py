"""Which offsets of a Kafka source are committed, and which are next. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeAlias

from pipeline.commit import Partition
from pipeline.source.kafka.watch import PartitionView

Generations: TypeAlias = Mapping[Partition, int]
"""Partitions that are ours, and which assignment of each it is."""
Places: TypeAlias = Mapping[Partition, tuple[int, int]]
"""Partitions' offsets to go on from, as (generation, offset): a later generation may go back."""


class CommitPlan:
    """Decides what to commit of one topic: what the journal says is durable, and of partitions that
    are idle all that was read; never the same twice, and never backwards.

    Owned by: ``Offsets``.
    """

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self._committed: dict[Partition, tuple[int, int]] = {}
        self._idle: dict[Partition, int] = {}
        self._left: dict[Partition, tuple[int, int]] = {}
        self._went_on: dict[Partition, tuple[int, int]] = {}

    def next_offset(self, view: PartitionView, next_offsets: Mapping[Partition, int]) -> int:
        """Up to where a partition is done."""
        partition = (self.topic, view.partition)
        done = self._idle.get(partition, next_offsets.get(partition))
        return view.position if done is None else done

    def note_idle(self, views: Sequence[PartitionView], busy: Collection[Partition]) -> None:
        """Partitions of which nothing is under way are done up to where they are read. Their last
        record may be no frame (the marker of a transaction), and a lag that never ends is an alarm.
        """
        self._idle = {
            partition: view.position
            for view in views
            if view.position >= 0 and (partition := (self.topic, view.partition)) not in busy
        }

    def forget_idle(self) -> None:
        """The partitions changed; what was idle must be looked at again."""
        self._idle.clear()

    def news(self, generations: Generations, next_offsets: Mapping[Partition, int]) -> Places:
        """What isn't committed yet of these partitions, of what is durable by ``next_offsets``."""
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

    def note_done(self, done: Places) -> None:
        """The broker has taken a commit. It may say so late, after one that came after it."""
        for partition, place in done.items():
            self._committed[partition] = max(place, self._committed.get(partition, place))

    def leave(self, generations: Generations, next_offsets: Mapping[Partition, int]) -> None:
        """These partitions go, and what is durable of them can't be committed any more."""
        for partition, generation in generations.items():
            committed_in, committed = self._committed.get(partition, (0, 0))
            known, began = self._went_on.pop(partition, (0, 0))
            durable = max(began, next_offsets.get(partition, 0))
            if committed_in == generation and committed < durable:
                self._left[partition] = committed, durable
            elif committed_in != generation and began:
                self._left[partition] = known, durable

    def has_left(self, partition: Partition) -> bool:
        """Whether there is more of a partition durable than the group may know."""
        return partition in self._left

    def go_on(self, partition: Partition, committed: int | None) -> int | None:
        """Where to go on in a partition that has come back: behind what was durable when it went,
        or None for where the group says, if that has been moved meanwhile."""
        known, durable = self._left.pop(partition)
        if committed is None or not known <= committed < durable:
            return None
        self._went_on[partition] = known, durable
        return durable

    def done_before_gap(self, partition: Partition, offset: int, log_start: int) -> int:
        """Up to where a partition is done that was to begin at ``offset``, where there is nothing
        before ``log_start``. Where that is further than all that was done, it goes on there."""
        known, durable = self._left.get(partition, (0, 0))
        if not known <= offset < durable:
            return offset
        if log_start >= durable:
            del self._left[partition]
        return durable


class NoCommits(CommitPlan):
    """A strict source's: its offsets are committed by the sink alone, in the transactions of the
    rows. A commit from here could arrive late, and take the group back behind rows that are there.
    """

    def news(self, generations: Generations, next_offsets: Mapping[Partition, int]) -> Places:
        """Nothing, ever."""
        return {}
