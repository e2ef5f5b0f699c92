"""Frames that may kill who takes them: marked before they are handed out, and then alone."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from kafka import KafkaConsumer, TopicPartition
from msgspec.structs import replace

from pipeline.commit import Partition
from pipeline.source.base import Progress
from pipeline.source.kafka.plan import Generations
from pipeline.source.kafka.suspicion import Mark
from pipeline.types import Frame

log = logging.getLogger(__name__)

_ANSWER_WITHIN_MS = 5_000


@dataclass(frozen=True, slots=True)
class _Taken:
    """From ``offset`` on frames are out under ``mark``; before that ``before`` stood there."""

    offset: int
    mark: Mark
    before: Mark


class Caution:
    """What one source knows of its partitions' marks, see ``Mark``.

    Owned by: the intake thread; kafka-python's I/O thread looks while that one is in ``poll`` or
    ``close``, so the two never meet.
    """

    def __init__(self, progress: Progress, *, is_on: bool) -> None:
        self._progress = progress
        self._is_on = is_on
        self._generations: dict[Partition, int] = {}
        self._marks: dict[Partition, Mark] = {}
        self._taken: dict[Partition, _Taken] = {}
        self._ends: dict[Partition, int] = {}
        self._is_alone_out = False

    def begin(self, consumer: KafkaConsumer, generations: Generations) -> None:
        """Reads what the group remembers of partitions that are new. Blocks for seconds at most.

        Raises:
            KafkaError: the cluster doesn't answer.
        """
        if not self._is_on:
            return
        for partition, generation in generations.items():
            if self._generations.get(partition) == generation:
                continue
            there = TopicPartition(*partition)
            found = consumer.committed(there, metadata=True, timeout_ms=_ANSWER_WITHIN_MS)
            mark = Mark() if found is None else Mark.parse(found.metadata)
            end = 0
            if mark.is_suspicious:
                end = consumer.end_offsets([there], timeout_ms=_ANSWER_WITHIN_MS)[there]
            self.meet(partition, generation, mark, end)

    def meet(self, partition: Partition, generation: int, mark: Mark, end: int) -> None:
        """A partition is ours from now on, with this mark, and its log ends there."""
        self._forget(partition)
        self._generations[partition] = generation
        self._marks[partition] = mark
        self._ends[partition] = end
        if mark.is_suspicious:
            log.warning(
                "%s/%d: workers died with its next frames in flight (%s): they go one at a time",
                *(*partition, mark.text()),
            )

    def note_passed(self, places: Mapping[Partition, int]) -> None:
        """In partitions that are new all before these offsets is done: it killed nobody."""
        for partition, next_offset in places.items():
            self._marks[partition] = self._of(partition).passed(next_offset)

    @property
    def is_on_guard(self) -> bool:
        """Whether frames go one at a time, or will."""
        return self._is_alone_out or any(each.is_suspicious for each in self._marks.values())

    def choose(self, carried: deque[Frame], room: int) -> tuple[list[Frame], dict[Partition, int]]:
        """Takes up to ``room`` frames out of ``carried`` that may be handed out now; and the
        offsets to mark before that, by partition. A mark is a commit: where frames before these are
        out without one, as the group refused it, there is none before they are done."""
        if self.is_on_guard:
            if not room or self._progress.in_flight_of(None):
                return [], {}
            self._is_alone_out = False
            suspect = next((each for each in carried if self._is_suspect(each)), None)
            if suspect is not None:
                carried.remove(suspect)
                return self._alone(suspect)
        chosen = [carried.popleft() for _ in range(min(room, len(carried)))]
        first: dict[Partition, int] = {}
        if self._is_on:
            for frame in chosen:
                at = frame.position
                if at.topic_partition not in self._taken:
                    first.setdefault(at.topic_partition, at.offset)
        return chosen, {
            partition: offset
            for partition, offset in first.items()
            if not self._progress.in_flight_of([partition])
        }

    def marks(self, first: Mapping[Partition, int]) -> dict[Partition, tuple[int, str]]:
        """What to commit before frames of these partitions are handed out from these offsets on."""
        return {
            partition: (offset, self._mark(partition, offset).text())
            for partition, offset in first.items()
        }

    def note_taken(self, first: Mapping[Partition, int]) -> None:
        """That is committed, and the frames are out."""
        for partition, offset in first.items():
            self._note(
                partition, _Taken(offset, self._mark(partition, offset), self._of(partition))
            )

    def metadata(self, partition: Partition, next_offset: int) -> str:
        """What to commit beside an offset: frames that are out from there on count as taken."""
        taken = self._taken.get(partition)
        if taken is None:
            return self._of(partition).text()
        if next_offset <= taken.offset:
            return taken.mark.text()
        mark = taken.mark.passed(next_offset)
        if mark == Mark() and self._progress.in_flight_of([partition]):
            mark = mark.taken(next_offset, next_offset)
        return mark.text()

    def to_take_back(
        self, partitions: Collection[Partition], next_offsets: Mapping[Partition, int]
    ) -> dict[Partition, tuple[int, str]]:
        """The marks of frames that are given up in good order, and of which none is done: where,
        and what stood there before."""
        if self._progress.is_dying():
            return {}
        return {
            partition: (taken.offset, taken.before.text())
            for partition in partitions
            if (taken := self._taken.get(partition)) is not None
            and next_offsets.get(partition, 0) <= taken.offset
        }

    def leave(self, partitions: Collection[Partition]) -> None:
        """These aren't ours any more, and their marks are another's to take back."""
        for partition in partitions:
            self._forget(partition)

    def _alone(self, frame: Frame) -> tuple[list[Frame], dict[Partition, int]]:
        partition, offset = frame.position.topic_partition, frame.position.offset
        mark = self._of(partition)
        self._is_alone_out = True
        if mark.treatment(offset) != "rejected":
            return [frame], {partition: offset}
        log.error("%s killed the workers that took it: rejected unread", frame.frame_id)
        times = mark.together + mark.alone
        self._note(partition, _Taken(offset, mark, mark))
        said = f"workers died of it: not decoded after {times} tries, the last as the only frame"
        return [replace(frame, defect=said, defect_reason="unfinished")], {}

    def _is_suspect(self, frame: Frame) -> bool:
        partition, offset = frame.position.topic_partition, frame.position.offset
        if self._of(partition).treatment(offset) != "together":
            return True
        self._marks[partition] = self._of(partition).passed(offset)
        return False

    def _of(self, partition: Partition) -> Mark:
        return self._marks.get(partition, Mark())

    def _mark(self, partition: Partition, offset: int) -> Mark:
        return self._of(partition).taken(offset, self._ends.get(partition, offset))

    def _note(self, partition: Partition, taken: _Taken) -> None:
        self._taken[partition] = taken
        self._marks[partition] = taken.mark.passed(taken.offset + 1)

    def _forget(self, partition: Partition) -> None:
        for known in (self._generations, self._marks, self._taken, self._ends):
            known.pop(partition, None)
