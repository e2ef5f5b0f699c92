"""Frames that are in memory already: for benchmarks, and for tests of what follows a source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.clock import Clock
from pipeline.errors import SourceExhausted
from pipeline.source.base import SourceInfo
from pipeline.types import Delivery, Frame, ImageHwc, Position


class MemorySource:
    """Gives ``count`` frames over and over from ``payloads``, as fast as they are taken.

    With ``max_age_s`` it is a live source. See ``Source``. Owned by: one intake thread.
    """

    def __init__(
        self,
        payloads: Sequence[bytes | ImageHwc],
        count: int,
        clock: Clock,
        *,
        name: str = "memory",
        max_age_s: float | None = None,
    ) -> None:
        self._payloads = payloads
        self._count = count
        self._clock = clock
        self._name = name
        self._max_age_s = max_age_s
        self._next = 0

    @property
    def info(self) -> SourceInfo:
        """See ``Source.info``."""
        delivery: Delivery = "lossless" if self._max_age_s is None else "live"
        return SourceInfo(self._name, delivery, is_finite=True, max_age_s=self._max_age_s)

    def open(self) -> None:
        """See ``Source.open``."""

    def poll(self, room: int, timeout_s: float) -> Sequence[Frame]:
        """See ``Source.poll``."""
        if self._next >= self._count:
            raise SourceExhausted(f"{self._name} gave all its {self._count} frames")
        first = self._next
        self._next = min(self._count, first + room)
        now, now_mono_s = self._clock.now(), self._clock.monotonic()
        return [
            Frame(
                position=Position(self._name, 0, offset),
                stream=self._name,
                payload=self._payloads[offset % len(self._payloads)],
                captured_at=now,
                received_mono_s=now_mono_s,
                max_age_s=self._max_age_s,
            )
            for offset in range(first, self._next)
        ]

    def commit(self, next_offsets: Mapping[tuple[str, int], int]) -> None:
        """See ``Source.commit``: there is nothing to remember."""

    def close(self) -> None:
        """See ``Source.close``."""
