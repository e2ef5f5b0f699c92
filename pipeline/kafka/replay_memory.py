"""What was put through already, kept where a consumer group keeps its offsets."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping

from pipeline.commit import Ledger
from pipeline.kafka.cluster import Cluster, Committed
from pipeline.kafka.lag import Bounds
from pipeline.kafka.replay_plan import Mark, known_marks
from pipeline.types import Position

REPLAY_GROUP = "headrace-replay"
"""A group that never has members. Its lag on a topic of dead letters is what waits to be replayed;
Kafka forgets its offsets as those of any group, a week after the last commit by default."""


class ReplayMemory:
    """The marks of one topic, and up to where a replay is done without a gap.

    A record counts once it is acknowledged, or isn't to be sent; so a replay that is killed sends
    some twice and leaves none out. Thread-safe but for ``load`` and ``save``, which belong to the
    replay's thread.
    """

    def __init__(self, topic: str, reasons: Collection[str]) -> None:
        self._topic = topic
        self._reasons = reasons
        self._lock = threading.Lock()
        self._ledger = Ledger()
        self._marks: dict[int, Mark] = {}

    def load(self, cluster: Cluster, bounds: Mapping[int, Bounds]) -> Mapping[int, Mark]:
        """Asks what was put through before, of the logs that are there now. Blocks."""
        found = cluster.committed(REPLAY_GROUP, self._topic, bounds)
        self._marks = known_marks({n: (at.offset, at.note) for n, at in found.items()}, bounds)
        return self._marks

    def is_done(self, partition: int, offset: int, reason: str) -> bool:
        """Whether a dead letter was put through by a replay before this one."""
        mark = self._marks.get(partition)
        return mark is not None and mark.is_done(offset, reason)

    def add(self, at: Position) -> None:
        """Takes note of a record that was read."""
        with self._lock:
            self._ledger.add(at)

    def finish(self, at: Position) -> None:
        """Notes that it was acknowledged, or isn't to be sent."""
        with self._lock:
            self._ledger.finish(at)

    def save(self, cluster: Cluster, ends: Mapping[int, int] | None = None) -> None:
        """Commits how far all is done, or ``ends`` where all is: a range may end with offsets that
        hold no record. Blocks."""
        if ends is None:
            with self._lock:
                ends = {number: at for (_, number), at in self._ledger.next_offsets().items()}
        before = {number: self._marks.get(number, Mark()) for number in ends}
        after = {number: before[number].after(at, self._reasons) for number, at in ends.items()}
        news = {number: mark for number, mark in after.items() if mark != before[number]}
        places = {number: Committed(mark.done, mark.note()) for number, mark in news.items()}
        if places:
            cluster.commit(REPLAY_GROUP, self._topic, places)
            self._marks |= news
