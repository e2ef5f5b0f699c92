"""Streams of handwritten digits whose truth is known, encoded as a camera's would be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.clock import Clock
from pipeline.digits import Night, Scene, Split
from pipeline.errors import SourceExhausted, SourceUnavailable
from pipeline.source.base import SourceInfo
from pipeline.source.pacing import Pace
from pipeline.types import Frame, Position

_SHORT_POLL_S = 0.02
"""A poll with a shorter time-out still goes on for so long while frames are there to be had."""


@dataclass(frozen=True, slots=True)
class DigitOptions:
    """What ``synthetic:digits`` takes.

    ``fps`` is each stream's; None is as fast as possible. ``count`` is each stream's number of
    frames; None is endless. With ``cycle`` the scenes begin anew after so many frames, which are
    then kept encoded (some 30 KB each), so that drawing costs nothing. ``max_age_s`` makes it live.
    ``night`` is the frame of each stream from which on it gets dark; it doesn't go with ``cycle``.
    """

    fps: float | None = None
    streams: int = 1
    count: int | None = None
    seed: int = 0
    width: int = 640
    height: int = 360
    cycle: int | None = None
    split: Split = "heldout"
    max_age_s: float | None = None
    night: int | None = None


class SyntheticSource:
    """N streams of scenes, in turn: stream ``i`` is partition ``i``, offset ``k`` is frame ``k``.

    The streams' frames are spread evenly over time, as those of cameras that know nothing of each
    other. A live one that can't be drawn in time goes on with the present, as a camera does whose
    exposure was missed: those frames never came to be. Reopened, one with a ``count`` starts at
    frame 0 and an endless one goes on. Owned by: one intake thread.
    """

    def __init__(self, name: str, options: DigitOptions, clock: Clock) -> None:
        self._info = SourceInfo(
            name=name,
            delivery="lossless" if options.max_age_s is None else "live",
            is_finite=options.count is not None,
            max_age_s=options.max_age_s,
        )
        self._options = options
        self._clock = clock
        self._pace: Pace | None = None
        self._scenes: tuple[Scene, ...] = ()
        self._encoded: dict[tuple[int, int], bytes] = {}
        self._first = 0
        self._next = 0

    @property
    def info(self) -> SourceInfo:
        """See ``Source.info``."""
        return self._info

    def open(self) -> None:
        """See ``Source.open``. Never fails."""
        wanted = self._options
        night = None if wanted.night is None else Night(wanted.night)
        self._scenes = tuple(
            Scene(i, wanted.seed, wanted.width, wanted.height, wanted.split)
            for i in range(wanted.streams)
        )
        for scene in self._scenes:
            scene.night = night
        self._first = self._next = 0 if wanted.count is not None else self._next
        self._pace = Pace(self._clock, None if wanted.fps is None else wanted.fps * wanted.streams)

    def poll(self, room: int, timeout_s: float) -> Sequence[Frame]:
        """See ``Source.poll``."""
        if self._pace is None:
            raise SourceUnavailable(f"{self._info.name} isn't open")
        frames: list[Frame] = []
        until_mono_s = self._clock.monotonic() + max(timeout_s, _SHORT_POLL_S)
        while len(frames) < room:
            self._skip_what_is_too_old(self._pace)
            if self._is_over():
                break
            if not self._pace.wait(self._next - self._first, 0.0 if frames else timeout_s):
                break
            frames.append(self._draw(self._next, self._pace))
            self._next += 1
            if self._clock.monotonic() >= until_mono_s:
                break
        if not frames and self._is_over():
            raise SourceExhausted(f"{self._info.name} gave all its frames")
        return frames

    def commit(self, next_offsets: Mapping[tuple[str, int], int]) -> None:
        """See ``Source.commit``: nothing to remember."""

    def close(self) -> None:
        """See ``Source.close``."""
        self._pace = None
        self._scenes = ()
        self._encoded.clear()

    def _is_over(self) -> bool:
        wanted = self._options
        return wanted.count is not None and self._next >= wanted.count * wanted.streams

    def _skip_what_is_too_old(self, pace: Pace) -> None:
        max_age_s = self._options.max_age_s
        if max_age_s is not None and pace.lateness_s(self._next - self._first) > max_age_s:
            self._next = self._first + pace.newest_due()

    def _draw(self, index: int, pace: Pace) -> Frame:
        k, stream = divmod(index, self._options.streams)
        captured_at = pace.captured_at(index - self._first)
        shown = k if self._options.cycle is None else k % self._options.cycle
        return Frame(
            position=Position(self._info.name, stream, k),
            stream=f"{self._info.name}-{stream}",
            payload=self._jpeg(stream, shown),
            captured_at=captured_at,
            received_mono_s=self._clock.monotonic(),
            max_age_s=self._options.max_age_s,
            truth=self._scenes[stream].label(shown),
        )

    def _jpeg(self, stream: int, k: int) -> bytes:
        if self._options.cycle is None:
            return self._scenes[stream].jpeg(k)
        encoded = self._encoded.get((stream, k))
        if encoded is None:
            encoded = self._encoded[stream, k] = self._scenes[stream].jpeg(k)
        return encoded
