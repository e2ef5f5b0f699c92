"""How much may be in the pipeline at once."""

from __future__ import annotations


class Credits:
    """Credits in frames and in bytes: taken when frames come in, given back when their outcome is
    durable. One poll may overdraw the bytes, as a frame's size is known only once it is here; it
    can't overdraw the frames. Several sources that poll at the same moment can, by a poll each:
    credits kept for a source that has nothing to give would starve the others. Pure. Owned by: the
    journal, under its lock.
    """

    def __init__(self, max_frames: int, max_bytes: int) -> None:
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._frames = 0
        self._bytes = 0
        self._largest_bytes = 1

    def room(self, at_most: int) -> int:
        """How many frames may come in now, of the largest size seen so far."""
        frames = min(at_most, self._max_frames - self._frames)
        bytes_left = self._max_bytes - self._bytes
        if frames <= 0 or bytes_left <= 0:
            return 0
        return max(1, min(frames, bytes_left // self._largest_bytes))

    def take(self, size_bytes: int) -> None:
        """One frame came in."""
        self._frames += 1
        self._bytes += size_bytes
        # It fades, so that one huge frame doesn't make all later polls small.
        self._largest_bytes = max(size_bytes, int(self._largest_bytes * 0.99), 1)

    def give_back(self, size_bytes: int) -> None:
        """One frame is done."""
        self._frames -= 1
        self._bytes -= size_bytes
