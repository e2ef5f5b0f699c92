"""Streams of pictures from memory that don't wait, as cameras don't."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.clock import Clock
from pipeline.errors import SourceExhausted
from pipeline.source.base import SourceInfo
from pipeline.source.pacing import Pace
from pipeline.types import Delivery, Frame, Position

NAME = "bench"


class PacedPictures:
    """Gives frame ``k`` from memory ``k / fps`` seconds after it was opened, captured when it was
    due: a camera that doesn't wait. Late frames are given too, with the age that they have. Where
    ``fps`` is None frames are always there.

    Frames are of ``streams`` in turn, over and over: one that is named more often gives more of
    them. With ``max_age_s`` they are live.

    See ``Source``. Owned by: one intake thread; ``fps`` may be set by any thread.
    """

    def __init__(
        self,
        pictures: Sequence[bytes],
        count: int,
        fps: float | None,
        clock: Clock,
        *,
        streams: Sequence[str] = (NAME,),
        max_age_s: float | None = None,
    ) -> None:
        self._pictures = pictures
        self._count = count
        self.fps = fps
        self._clock = clock
        self._streams = streams
        self._max_age_s = max_age_s
        self._next = 0
        self._begin(fps)

    @property
    def info(self) -> SourceInfo:
        """See ``Source.info``."""
        delivery: Delivery = "lossless" if self._max_age_s is None else "live"
        return SourceInfo(NAME, delivery, is_finite=True, max_age_s=self._max_age_s)

    def open(self) -> None:
        """See ``Source.open``."""
        self._begin(self.fps)

    def poll(self, room: int, timeout_s: float) -> Sequence[Frame]:
        """See ``Source.poll``."""
        if self._next >= self._count:
            raise SourceExhausted(f"{NAME} gave all its {self._count} frames")
        if (fps := self.fps) != self._paced_fps:
            self._begin(fps)
        frames: list[Frame] = []
        while len(frames) < room and self._next < self._count:
            if not self._pace.wait(self._next - self._first, 0.0 if frames else timeout_s):
                break
            frames.append(self._frame(self._next))
            self._next += 1
        return frames

    def commit(self, next_offsets: Mapping[tuple[str, int], int]) -> None:
        """See ``Source.commit``: there is nothing to remember."""

    def close(self) -> None:
        """See ``Source.close``."""

    def _begin(self, fps: float | None) -> None:
        self._pace, self._paced_fps, self._first = Pace(self._clock, fps), fps, self._next

    def _frame(self, k: int) -> Frame:
        return Frame(
            position=Position(NAME, 0, k),
            stream=self._streams[k % len(self._streams)],
            payload=self._pictures[k % len(self._pictures)],
            captured_at=self._pace.captured_at(k - self._first),
            received_mono_s=self._clock.monotonic(),
            max_age_s=self._max_age_s,
        )
