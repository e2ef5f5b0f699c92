"""What the intake depends on in a source."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.commit import Partition
from pipeline.types import Delivery, Frame


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of a source before it is opened.

    ``name`` is shown in logs, metrics and results: never with a password in it. ``max_age_s`` is
    the deadline that a live source gives its frames; ``blocks_s`` how long an opening or a
    poll may block where nothing comes, whatever a poll's own time-out.
    """

    name: str
    delivery: Delivery
    is_finite: bool
    max_age_s: float | None = None
    blocks_s: float = 0.0


class Progress(Protocol):
    """What became of the frames that a source gave, by partition. Thread-safe.

    A source whose partitions can be taken away (Kafka) asks before it lets go of them.
    """

    def next_offsets(self) -> Mapping[Partition, int]:
        """What may be committed now."""
        ...

    def in_flight_of(self, partitions: Collection[Partition] | None) -> int:
        """Frames of these partitions without a durable outcome; None: of all there are."""
        ...

    def wait_finished(self, partitions: Collection[Partition] | None, timeout_s: float) -> bool:
        """Waits until no frame of these partitions is in flight; False if that took too long."""
        ...

    def is_dying(self) -> bool:
        """Whether the process ends because of what is in flight, as far as anybody knows."""
        ...

    def revoke(self, partitions: Collection[Partition]) -> None:
        """Says that these partitions aren't ours any more: nothing of them may be committed."""
        ...

    def pass_over(self, stream: str, count: int) -> None:
        """Counts frames that were too old to be read at all: received and shed at once."""
        ...


class NoProgress:
    """Of a source whose frames nobody works on: nothing is in flight, nothing done. Thread-safe."""

    def next_offsets(self) -> Mapping[Partition, int]:
        """See ``Progress.next_offsets``."""
        return {}

    def in_flight_of(self, partitions: Collection[Partition] | None) -> int:
        """See ``Progress.in_flight_of``."""
        return 0

    def wait_finished(self, partitions: Collection[Partition] | None, timeout_s: float) -> bool:
        """See ``Progress.wait_finished``."""
        return True

    def is_dying(self) -> bool:
        """See ``Progress.is_dying``."""
        return False

    def revoke(self, partitions: Collection[Partition]) -> None:
        """See ``Progress.revoke``."""

    def pass_over(self, stream: str, count: int) -> None:
        """See ``Progress.pass_over``."""


class Source(Protocol):
    """Where frames come from. Owned by: one intake thread, which makes all the calls.

    Obligations:
      - offsets of a partition strictly rise; the frames of a stream come in capture order;
      - a frame is handed out once, and never dropped silently;
      - no call blocks longer than its time-out, or the source's own documented one;
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

        Keyed by ``(topic, partition)``, of all sources; called ten times a second, whether there
        is news or not. Files and cameras have nothing to remember.

        Raises:
            SourceUnavailable: the connection broke.
        """
        ...

    def close(self) -> None:
        """Lets everything go. Never raises; closing twice is harmless."""
        ...
