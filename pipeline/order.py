"""Each stream's order, kept while frames overtake each other inside the pipeline."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from pipeline.types import Frame, Outcome, Position


@dataclass(slots=True)
class _Line:
    expected: deque[Position] = field(default_factory=deque[Position])
    early: dict[Position, Outcome] = field(default_factory=dict[Position, Outcome])
    held_since_s: float = 0.0


def stream_of(frame: Frame) -> Hashable:
    """The line that a frame stands in: its stream's."""
    return frame.stream


def partition_of(frame: Frame) -> Hashable:
    """The line that a frame stands in where it is written together with its offset: its
    partition's, and so that of all the streams there."""
    return frame.position.topic_partition


class StreamOrder:
    """Holds back outcomes until all earlier frames of their stream have theirs.

    A rejected frame is known sooner than its neighbour that waits for a batch. Bounded by the
    frames in flight. ``line_of`` may put frames into longer lines than their streams'. Pure. Owned
    by: the journal, under its lock.
    """

    def __init__(self, line_of: Callable[[Frame], Hashable] = stream_of) -> None:
        self._line_of = line_of
        self._lines: dict[Hashable, _Line] = {}

    def expect(self, frame: Frame) -> None:
        """Takes note of the next frame of its stream."""
        line = self._lines.setdefault(self._line_of(frame), _Line())
        line.expected.append(frame.position)

    def held_since_s(self) -> float | None:
        """Since when outcomes wait for an earlier one, on the clock of ``release``; None if none
        does."""
        held = [line.held_since_s for line in self._lines.values() if line.early]
        return min(held, default=None)

    def release(self, outcome: Outcome, now_s: float = 0.0) -> list[Outcome]:
        """Takes an outcome and gives those that may be written now, in order.

        Raises:
            ValueError: its frame isn't expected (any more).
        """
        frame = outcome.frame
        key = self._line_of(frame)
        line = self._lines.get(key)
        if line is None:
            raise ValueError(f"no frame of stream {frame.stream!r} is expected")
        if line.expected[0] != frame.position:
            line.held_since_s = line.held_since_s if line.early else now_s
            line.early[frame.position] = outcome
            return []
        ready = [outcome]
        line.expected.popleft()
        while line.expected and line.expected[0] in line.early:
            ready.append(line.early.pop(line.expected.popleft()))
        line.held_since_s = now_s
        if not line.expected:
            del self._lines[key]  # names come from outside: keep none that is idle
        return ready
