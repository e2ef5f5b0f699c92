"""What the intake depends on in a source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.types import Delivery, Frame


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of a source before it is opened.

    ``name`` is shown in logs, metrics and results: never with a password in it. ``max_age_s`` is
    the deadline that a live source gives its frames.
    """

    name: str
    delivery: Delivery
    is_finite: bool
    max_age_s: float | None = None


class Source(Protocol):
    """Where frames come from. Owned by: one intake thread, which makes all the calls.

    Obligations:
      - offsets of a partition strictly rise; the frames of a stream come in capture order;
      - a frame is handed out once, and never dropped silently;
      - no call blocks longer than its time-out, or the source's own documented read time-out;
      - after an error that isn't ``SourceExhausted``, ``close`` then ``open`` starts afresh.
    """

    @property
    def info(self) -> SourceInfo:
        """Constant; may be read from any thread."""
        ...

    def open(self) -> None:
        """Connects.

        Raises:
            ConfigError: it can never work (no such file, not a video).
            SourceUnavailable: it may work later (a camera that is away).
        """
        ...

    def poll(self, room: int, timeout_s: float) -> Sequence[Frame]:
        """Gives up to ``room`` frames, waiting up to ``timeout_s`` for the first.

        With ``room`` 0 it only does what keeps the connection alive. An empty answer is normal.

        Raises:
            SourceExhausted: there will never be another frame.
            SourceUnavailable: the connection broke.
        """
        ...

    def commit(self, next_offsets: Mapping[tuple[str, int], int]) -> None:
        """Remembers, where the source can, that all before these offsets is durable.

        Keyed by ``(topic, partition)``. Files and cameras have nothing to remember.
        """
        ...

    def close(self) -> None:
        """Lets everything go. Never raises; closing twice is harmless."""
        ...
