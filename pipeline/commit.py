"""The ledger: what may be committed, decided from outcomes alone."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TypeAlias

from pipeline.types import Position

Partition: TypeAlias = tuple[str, int]
"""A topic and the number of its partition."""


@dataclass(slots=True)
class _Assignment:
    generation: int
    pending: deque[int] = field(default_factory=deque[int])
    finished: set[int] = field(default_factory=set[int])
    next_offset: int | None = None

    @property
    def in_flight(self) -> int:
        return len(self.pending) - len(self.finished)


class Ledger:
    """Each frame between its arrival and its durable outcome, per partition, in offset order.

    Outcomes may finish in any order; ``next_offset`` moves only over frames that are finished
    without a gap before them. Offsets may be sparse (compacted topics, transaction markers), so
    the ledger never looks for ``offset + 1`` but for the next one that it was told of. Pure.

    Owned by: the journal, under its lock.
    """

    def __init__(self) -> None:
        self._assignments: dict[Partition, _Assignment] = {}
        self._in_flight = 0

    def add(self, position: Position) -> None:
        """Takes note of a frame.

        Raises:
            ValueError: its offset isn't above those before it in this assignment.
        """
        partition = position.topic_partition
        assignment = self._assignments.get(partition)
        if assignment is None or position.generation > assignment.generation:
            if assignment is not None:
                self._in_flight -= assignment.in_flight
            assignment = self._assignments[partition] = _Assignment(position.generation)
        last = assignment.pending[-1] if assignment.pending else (assignment.next_offset or 0) - 1
        if position.generation < assignment.generation or position.offset <= last:
            raise ValueError(f"{position} isn't after offset {last} of its partition")
        assignment.pending.append(position.offset)
        self._in_flight += 1

    def finish(self, position: Position) -> bool:
        """Notes a durable outcome; False if it is of an older assignment, unknown or known."""
        assignment = self._assignments.get(position.topic_partition)
        if assignment is None or position.generation != assignment.generation:
            return False
        pending, finished = assignment.pending, assignment.finished
        if pending and pending[0] == position.offset:
            pending.popleft()
            assignment.next_offset = position.offset + 1
            while pending and pending[0] in finished:
                offset = pending.popleft()
                finished.remove(offset)
                assignment.next_offset = offset + 1
        elif position.offset in finished or position.offset not in pending:
            return False
        else:
            finished.add(position.offset)
        self._in_flight -= 1
        return True

    def is_current(self, position: Position) -> bool:
        """Whether a frame is of its partition's present assignment."""
        assignment = self._assignments.get(position.topic_partition)
        return assignment is not None and assignment.generation == position.generation

    def in_flight_of(self, partition: Partition) -> int:
        """Frames of a partition's current assignment without a durable outcome."""
        assignment = self._assignments.get(partition)
        return 0 if assignment is None else assignment.in_flight

    def revoke(self, partition: Partition) -> None:
        """Forgets a partition: what is in flight of it will be refused, and nothing committed."""
        assignment = self._assignments.pop(partition, None)
        if assignment is not None:
            self._in_flight -= assignment.in_flight

    def next_offsets(self) -> dict[Partition, int]:
        """What may be committed now: all before these offsets is durable."""
        return {
            partition: assignment.next_offset
            for partition, assignment in self._assignments.items()
            if assignment.next_offset is not None
        }

    @property
    def in_flight(self) -> int:
        """Frames without a durable outcome."""
        return self._in_flight
