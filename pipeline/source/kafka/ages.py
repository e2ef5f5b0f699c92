"""How old the oldest record is that isn't finished. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from pipeline.commit import Partition


class RecordAges:
    """Remembers when the records of each poll were made: one note for each poll and partition, so
    the age is that of the first record of a poll that isn't wholly finished.

    Holds at most a note for each frame in flight. Owned by: the intake thread.
    """

    def __init__(self) -> None:
        self._notes: dict[Partition, deque[tuple[int, float]]] = {}
        self._newest: dict[Partition, float] = {}

    def note(self, partition: Partition, last_offset: int, first_at: float, last_at: float) -> None:
        """A poll gave records up to ``last_offset``, made from ``first_at`` to ``last_at``, in Unix
        seconds."""
        self._notes.setdefault(partition, deque()).append((last_offset, first_at))
        self._newest[partition] = last_at

    def age_s(self, partition: Partition, next_offset: int, end: int, now: float) -> float:
        """Seconds since the oldest record was made that isn't finished; 0 without one.

        Of records that were never read only the end is known: they are younger than the last one
        that was, so its age is the most that theirs can be.
        """
        notes = self._notes.get(partition, deque())
        while notes and notes[0][0] < next_offset:
            notes.popleft()
        if notes:
            return max(0.0, now - notes[0][1])
        if next_offset >= end or partition not in self._newest:
            return 0.0
        return max(0.0, now - self._newest[partition])

    def newest(self, partition: Partition) -> float | None:
        """When the newest record was made that was read, in Unix seconds."""
        return self._newest.get(partition)

    def keep_only(self, partitions: Collection[Partition]) -> None:
        """Forgets what isn't ours any more; what is assigned anew is read anew."""
        for partition in set(self._newest) - set(partitions):
            self._notes.pop(partition, None)
            self._newest.pop(partition, None)
