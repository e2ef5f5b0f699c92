"""The journal: every frame from its arrival to its one durable outcome."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from pipeline.clock import Clock
from pipeline.commit import Ledger, Partition
from pipeline.credits import Credits
from pipeline.metrics import MAX_STREAM_LABELS, FrameCounts
from pipeline.order import StreamOrder
from pipeline.types import Frame, Outcome, Position, Rejected, Scored, Shed, ShedReason

_ORDERING_S = 1.0
"""What counts of the time between two looks at what was decided: more is a sink's."""

_PASSED_BY = 5.0
"""Before a frame's batch come those that are filled or run: each may take as long as a call may."""


class Journal:
    """Where a frame is written down when it comes in and crossed out when its outcome is durable.

    One lock covers ledger, order, credits and counters, so ``received = scored + shed + rejected +
    in_flight`` holds whenever somebody looks. Thread-safe.
    """

    def __init__(self, credit: Credits, clock: Clock, order: StreamOrder | None = None) -> None:
        self._clock = clock
        self._credits = credit
        self._ledger = Ledger()
        self._order = order or StreamOrder()
        self._freed = threading.Condition()
        self._streams: set[str] = set()
        self._received: defaultdict[str, int] = defaultdict(int)
        self._scored: defaultdict[str, int] = defaultdict(int)
        self._shed: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._rejected: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._sizes: dict[Position, int] = {}
        self._first_mono_s: float | None = None
        self._last_mono_s: float | None = None
        self._progress_mono_s = 0.0
        self._ordering_s = 0.0
        self._is_dying = threading.Event()
        self._ordered_mono_s = 0.0

    def room(self, at_most: int, timeout_s: float = 0.0) -> int:
        """How many frames may come in; waits up to ``timeout_s`` for the first credit."""
        with self._freed:
            if not self._credits.room(at_most) and timeout_s:
                self._freed.wait(timeout_s)
            return self._credits.room(at_most)

    def admit(self, frames: Iterable[Frame]) -> None:
        """Writes down frames that came in, in their streams' order, and takes their credits."""
        now = self._clock.monotonic()
        with self._freed:
            if not self._sizes:
                self._progress_mono_s = now
            for frame in frames:
                self._ledger.add(frame.position)
                self._order.expect(frame)
                size_bytes = frame.size_bytes
                self._credits.take(size_bytes)
                self._sizes[frame.position] = size_bytes
                self._received[self._label(frame.stream)] += 1
            if self._first_mono_s is None:
                self._first_mono_s = now

    def turn_away(self, frame: Frame, reason: ShedReason) -> None:
        """Counts a live frame that came while there was no credit: received and shed at once.

        It has no row in the sink; there is no room left even for that.
        """
        with self._freed:
            self._shed_at_once(frame.stream, reason, 1)

    def pass_over(self, stream: str, count: int) -> None:
        """Counts live frames that were too old to be read: received and shed, without rows."""
        with self._freed:
            self._shed_at_once(stream, "deadline", count)

    def in_stream_order(self, outcomes: Iterable[Outcome]) -> list[Outcome]:
        """Takes outcomes as they come and gives those that may be written, each stream in order."""
        ready: list[Outcome] = []
        now = self._clock.monotonic()
        with self._freed:
            self._ordering_s += min(now - self._ordered_mono_s, _ORDERING_S)
            self._ordered_mono_s = now
            for outcome in outcomes:
                ready += self._order.release(outcome, self._ordering_s)
        return ready

    def held_back_s(self) -> float:
        """How long an outcome has been waiting for an earlier one of its stream, in seconds in
        which outcomes were taken: while a sink holds up everything, the missing one may be there.
        """
        with self._freed:
            since_s = self._order.held_since_s()
            return 0.0 if since_s is None else self._ordering_s - since_s

    def finish(self, outcomes: Sequence[Outcome]) -> None:
        """Crosses out frames whose outcome is durable, counts them and gives back their credits."""
        now = self._clock.monotonic()
        with self._freed:
            for outcome in outcomes:
                position = outcome.frame.position
                size_bytes = self._sizes.pop(position, None)
                if size_bytes is None:
                    continue
                # The ledger refuses what is of an older assignment: another worker commits it. The
                # frame came in here all the same, and its credit is given back.
                self._ledger.finish(position)
                self._credits.give_back(size_bytes)
                self._count(outcome)
            self._last_mono_s = self._progress_mono_s = now
            self._freed.notify_all()

    def next_offsets(self) -> dict[Partition, int]:
        """What a source may commit now."""
        with self._freed:
            return self._ledger.next_offsets()

    def is_current(self, position: Position) -> bool:
        """Whether a frame's outcome may still move its partition's offset."""
        with self._freed:
            return self._ledger.is_current(position)

    def in_flight_of(self, partitions: Collection[Partition] | None) -> int:
        """Frames of these partitions without a durable outcome; None: of all there are."""
        with self._freed:
            return self._left_of(partitions)

    def wait_finished(self, partitions: Collection[Partition] | None, timeout_s: float) -> bool:
        """Waits until no frame of these partitions is in flight; False if that took too long."""
        with self._freed:
            return self._freed.wait_for(lambda: not self._left_of(partitions), timeout_s)

    def _left_of(self, partitions: Collection[Partition] | None) -> int:
        if partitions is None:
            return len(self._sizes)
        return sum(map(self._ledger.in_flight_of, partitions))

    def is_dying(self) -> bool:
        """Whether what is in flight has just broken this process."""
        return self._is_dying.is_set()

    def die(self) -> None:
        """The process ends, and what is in flight may be why."""
        self._is_dying.set()

    def revoke(self, partitions: Collection[Partition]) -> None:
        """Partitions that aren't ours any more: their frames still get their outcomes and give
        their credits back, but move no offset."""
        with self._freed:
            for partition in partitions:
                self._ledger.revoke(partition)
            self._freed.notify_all()

    def counts(self) -> FrameCounts:
        """All counters of one moment."""
        with self._freed:
            return FrameCounts(
                received=dict(self._received),
                scored=dict(self._scored),
                shed=dict(self._shed),
                rejected=dict(self._rejected),
                in_flight=len(self._sizes),
            )

    def idle_for_s(self) -> float:
        """Seconds without an outcome while frames are in flight; 0 if none is."""
        with self._freed:
            if not self._sizes:
                return 0.0
            return self._clock.monotonic() - self._progress_mono_s

    def stall(self, limit_s: float, *, sink_waits: bool) -> str | None:
        """None, or why frames in flight will have no outcome any more."""
        idle_s, held_s = self.idle_for_s(), self.held_back_s()
        if idle_s > limit_s and not sink_waits:
            return f"frames are in flight and nothing came of any for {idle_s:.0f} s"
        if held_s > _PASSED_BY * limit_s:
            return f"a frame has no outcome, and those behind it have theirs for {held_s:.0f} s"
        return None

    def busy_s(self) -> float:
        """From the first frame received to the last outcome durable, in seconds."""
        with self._freed:
            if self._first_mono_s is None or self._last_mono_s is None:
                return 0.0
            return max(0.0, self._last_mono_s - self._first_mono_s)

    def _shed_at_once(self, stream: str, reason: ShedReason, count: int) -> None:
        label = self._label(stream)
        self._received[label] += count
        self._shed[label, reason] += count
        if self._first_mono_s is None:
            self._first_mono_s = self._clock.monotonic()

    def _count(self, outcome: Outcome) -> None:
        stream = self._label(outcome.frame.stream)
        match outcome:
            case Scored():
                self._scored[stream] += 1
            case Shed(reason=reason):
                self._shed[stream, reason] += 1
            case Rejected(reason=reason):
                self._rejected[stream, reason] += 1

    def _label(self, stream: str) -> str:
        """The stream's own name, or ``other`` beyond the first 256: names come from outside."""
        if stream in self._streams:
            return stream
        if len(self._streams) >= MAX_STREAM_LABELS:
            return "other"
        self._streams.add(stream)
        return stream
