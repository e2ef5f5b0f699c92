"""How long a live frame lay in buffers before it was read: a pure reckoning."""

from __future__ import annotations

MAX_DRIFT = 2e-4
"""Two clocks of cheap quartz differ by at most 100 parts in a million each."""

_NEW_TIMELINE_S = 10.0
"""A larger jump of a camera's time is a new count, not a delay."""


class Lateness:
    """Tells from a stream's own time how much later than usual a frame arrived.

    The camera's time and ours have an unknown distance; the smallest one seen is that of a frame
    that came without a wait. A frame read from a full buffer shows a larger one: the difference is
    its age when it was read. The smallest distance may grow by ``MAX_DRIFT``, so that a camera with
    a slow clock doesn't look later each hour. Owned by: the camera's thread.
    """

    def __init__(self) -> None:
        self._smallest_s: float | None = None
        self._distance_s = 0.0
        self._last_stream_s = 0.0
        self._last_mono_s = 0.0

    @property
    def distance_s(self) -> float:
        """Our time less the stream's, at the last frame; only its changes mean something."""
        return self._distance_s

    def observe(self, stream_s: float, now_mono_s: float) -> float:
        """Gives the lateness, in seconds, of a frame of stream time ``stream_s`` read now.

        A stream without a time of its own (it stays 0) or with a new one gives 0.
        """
        distance_s = now_mono_s - stream_s
        known_s = self._smallest_s
        has_new_time = (
            stream_s <= self._last_stream_s or stream_s - self._last_stream_s > _NEW_TIMELINE_S
        )
        if known_s is None or has_new_time:
            smallest_s = distance_s
        else:
            drifted_s = known_s + MAX_DRIFT * (now_mono_s - self._last_mono_s)
            smallest_s = min(drifted_s, distance_s)
        self._smallest_s, self._distance_s = smallest_s, distance_s
        self._last_stream_s, self._last_mono_s = stream_s, now_mono_s
        return distance_s - smallest_s
