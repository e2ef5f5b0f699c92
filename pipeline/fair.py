"""Which waiting frame is next: deficit round robin over streams."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

from pipeline.types import Frame

_BYTES_A_COST = 128 * 1024
_MAX_COST = 8.0


def decode_cost(frame: Frame) -> float:
    """A frame's share of decoding work, in small frames: one, and one more for each 128 KiB of
    encoded bytes, up to eight. A picture that its source decoded costs one."""
    if not isinstance(frame.payload, bytes):
        return 1.0
    return min(_MAX_COST, 1.0 + len(frame.payload) / _BYTES_A_COST)


@dataclass(slots=True)
class _Line:
    frames: deque[Frame] = field(default_factory=deque[Frame])
    deficit: float = 0.0


class FairQueue:
    """Frames that wait, by stream: each stream gets the same share of decoding work.

    Deficit round robin (Shreedhar and Varghese, 1995): a visited stream earns one unit and is
    served while it can pay. Within a stream it is first in, first out. Pure; a stream that is empty
    is forgotten. Owned by: the waiting room, under its lock.
    """

    def __init__(self) -> None:
        self._lines: OrderedDict[str, _Line] = OrderedDict()
        self._count = 0

    def push(self, frame: Frame) -> None:
        """Adds a frame behind those of its stream."""
        line = self._lines.get(frame.stream)
        if line is None:
            line = self._lines[frame.stream] = _Line()
        line.frames.append(frame)
        self._count += 1

    def push_first(self, frame: Frame) -> None:
        """Puts a frame back that was taken: before those of its stream."""
        self.push(frame)
        frames = self._lines[frame.stream].frames
        frames.appendleft(frames.pop())

    def pop(self) -> Frame:
        """Takes the next frame.

        Raises:
            IndexError: none waits.
        """
        if not self._count:
            raise IndexError("no frame waits")
        while True:
            stream, line = next(iter(self._lines.items()))
            if len(self._lines) == 1:  # nobody to be fair to
                return self._serve_alone(stream, line)
            cost = decode_cost(line.frames[0])
            if line.deficit >= cost:
                return self._serve(stream, line, cost)
            line.deficit += 1.0
            if line.deficit >= cost:
                return self._serve(stream, line, cost)
            self._lines.move_to_end(stream)

    def drop_oldest(self, stream: str, keep: int) -> list[Frame]:
        """Takes a stream's oldest frames out until ``keep`` are left, and gives them."""
        line = self._lines.get(stream)
        if line is None:
            return []
        dropped = [line.frames.popleft() for _ in range(len(line.frames) - keep)]
        self._count -= len(dropped)
        if not line.frames:
            del self._lines[stream]
        return dropped

    def __len__(self) -> int:
        return self._count

    def _serve_alone(self, stream: str, line: _Line) -> Frame:
        line.deficit = 0.0
        self._count -= 1
        frame = line.frames.popleft()
        if not line.frames:
            del self._lines[stream]
        return frame

    def _serve(self, stream: str, line: _Line, cost: float) -> Frame:
        line.deficit = max(0.0, line.deficit - cost)
        frame = line.frames.popleft()
        self._count -= 1
        if not line.frames:
            del self._lines[stream]
        else:
            next_cost = decode_cost(line.frames[0])
            if line.deficit < next_cost:
                self._lines.move_to_end(stream)
        return frame
