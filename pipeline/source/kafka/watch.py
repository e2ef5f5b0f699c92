"""Whether a consumer is still alive: it can wedge in several ways without an error. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

JOIN_WITHIN_S = 15.0
"""A join that takes longer hangs, or another member does: rebuilding is harmless then, too."""
DELIVER_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class PartitionView:
    """One partition: the next offset that the consumer would deliver, and the topic's end as the
    broker last said it; -1 while not known."""

    partition: int
    position: int
    end: int

    @property
    def has_records(self) -> bool:
        """Whether there are records that weren't delivered."""
        return 0 <= self.position < self.end


class ConsumerWatch:
    """Judges a consumer by what comes out of it. Owned by: the intake thread."""

    def __init__(self) -> None:
        self._unstable_since: float | None = None
        self._silent_since: float | None = None

    def saw_records(self, now_mono_s: float) -> None:
        """A poll gave records."""
        self._silent_since = None

    def complaint(
        self,
        now_mono_s: float,
        *,
        is_stable: bool,
        is_paused: bool,
        partitions: Sequence[PartitionView],
    ) -> str | None:
        """None, or why the consumer must be made anew."""
        if is_stable:
            self._unstable_since = None
        elif self._unstable_since is None:
            self._unstable_since = now_mono_s
        elif now_mono_s - self._unstable_since > JOIN_WITHIN_S:
            return f"joining the group took longer than {JOIN_WITHIN_S:g} s"
        behind = [view for view in partitions if view.has_records]
        if is_paused or not is_stable or not behind:
            self._silent_since = None
        elif self._silent_since is None:
            self._silent_since = now_mono_s
        elif now_mono_s - self._silent_since > DELIVER_WITHIN_S:
            names = ", ".join(str(view.partition) for view in behind)
            return f"records of partitions {names} weren't delivered for {DELIVER_WITHIN_S:g} s"
        return None
