"""When the next frame of a paced source is due."""

from __future__ import annotations

import threading

from pipeline.clock import Clock


class Pace:
    """Lets frame ``k`` go ``k / fps`` seconds after the start, or at once where ``fps`` is None.

    Late frames are due too: a pace delays, it never skips. Owned by: the source's thread.
    """

    def __init__(self, clock: Clock, fps: float | None) -> None:
        self._clock = clock
        self._fps = fps
        self._start_mono_s = clock.monotonic()
        # Never set: waiting on an event is a wait with a deadline, to a fraction of a millisecond.
        self._nothing = threading.Event()

    def wait(self, k: int, timeout_s: float) -> bool:
        """Whether frame ``k`` is due, after waiting up to ``timeout_s`` for it to be."""
        late_s = self.lateness_s(k)
        if late_s < 0 and timeout_s > 0:
            self._nothing.wait(min(-late_s, timeout_s))
            late_s = self.lateness_s(k)
        return late_s >= 0

    def lateness_s(self, k: int) -> float:
        """Seconds since frame ``k`` was due; negative before that, 0 where nothing is paced."""
        if self._fps is None:
            return 0.0
        return self._clock.monotonic() - self._start_mono_s - k / self._fps

    def newest_due(self) -> int:
        """The number of the last frame that is due by now."""
        if self._fps is None:
            return 0
        return int((self._clock.monotonic() - self._start_mono_s) * self._fps)

    def captured_at(self, k: int) -> float:
        """Unix seconds at which frame ``k`` was due: reckoned back from now, so that a step of the
        wall clock since the start doesn't make all later frames look old."""
        return self._clock.now() - max(0.0, self.lateness_s(k))
