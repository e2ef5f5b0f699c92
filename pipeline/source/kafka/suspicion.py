"""Whether frames kill who takes them: what a group remembers beside a committed offset. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

Treatment: TypeAlias = Literal["together", "alone", "rejected"]

_TOGETHER = 2
_ALONE = 2
_IN_ALL = 3
_WINDOW = 512
"""Frames in flight, and what finished between two commits: among these is the one that kills. Where
workers are set to hold more, the next window has it."""
_FORM = re.compile(r"headrace together=(\d+) alone=(\d+) until=(\d+)")


@dataclass(frozen=True, slots=True)
class Mark:
    """How often frames were taken from an offset on, and nobody got past it: ``together`` with
    others, ``alone`` as the only frame in flight. Up to the offset ``until`` frames go alone.

    It is the metadata of a group's committed offset, so it vanishes when the group gets past.
    """

    together: int = 0
    alone: int = 0
    until: int = 0

    @classmethod
    def parse(cls, text: str) -> Mark:
        """Reads a commit's metadata; another's say nothing."""
        found = _FORM.fullmatch(text)
        return cls(*map(int, found.groups())) if found else cls()

    def text(self) -> str:
        """As a commit's metadata."""
        if self == Mark():
            return ""
        return f"headrace together={self.together} alone={self.alone} until={self.until}"

    def treatment(self, offset: int) -> Treatment:
        """What becomes of the frame at ``offset``, the next one that nobody got past.

        A frame is blamed only where it was alone in flight: twice, or once after two times in
        which it was the first of several. Who kills workers by hand blames none by it.
        """
        if self.alone >= _ALONE or (self.alone and self.together + self.alone >= _IN_ALL):
            return "rejected"
        if self.together >= _TOGETHER or self.alone or offset < self.until:
            return "alone"
        return "together"

    @property
    def is_suspicious(self) -> bool:
        """Whether there are frames that go alone, or none of them at all."""
        return self.treatment(0) != "together"

    def taken(self, offset: int, end: int) -> Mark:
        """What to remember before the frame at ``offset`` is taken as its treatment says, from a
        log that ended at ``end`` when this worker came to it: later frames killed nobody."""
        if self.treatment(offset) == "together":
            return Mark(self.together + 1)
        until = self.until or max(offset + 1, min(offset + _WINDOW, end))
        return Mark(self.together, self.alone + 1, until)

    def passed(self, next_offset: int) -> Mark:
        """What to remember once the group is past the frames that it was of."""
        return Mark(until=self.until) if next_offset < self.until else Mark()
