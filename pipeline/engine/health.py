"""Whether a model that took over gives what no result may be: no number, or another shape."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

_PROBATION_FRAMES = 1000
"""What a model is held to the one before for. Later on the frames have changed, more likely."""

_TIMES_AS_OFTEN = 10
_LEAST_BAD = 3
"""One frame can be bad for any model. Of two models that are alike, one in 250 would have three by
chance where a third of one is to be expected."""
_ENOUGH_FRAMES = 100
"""A model that ran on fewer leaves the word to the one before it."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """How many frames a model ran on, and of how many the output was bad."""

    frames: int = 0
    bad: int = 0

    def is_broken(self, before: Outputs) -> bool:
        """Whether outputs are bad ten times as often as those of the model before.

        That one has one bad frame more than were seen: so nothing is said of a model that follows
        none, or one that hardly ran.
        """
        usual = (before.bad + 1) / (before.frames + 1)
        return self.bad >= _LEAST_BAD and self.bad > _TIMES_AS_OFTEN * usual * self.frames


class OutputHealth:
    """The outputs of the active model and of the one before it.

    Thread-safe: the engine thread notes, the swap thread asks.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._epoch = 0
        self._now = Outputs()
        self._before = Outputs()
        self._complaint = ""
        self.on_broken: Callable[[], None] | None = None

    def note(self, epoch: int, frames: int, bad: int) -> None:
        """One batch is done."""
        with self._lock:
            if epoch != self._epoch:
                self._before, self._now = self._good(), Outputs()
                self._epoch, self._complaint = epoch, ""
            is_new = self._now.frames < _PROBATION_FRAMES
            now = self._now = Outputs(self._now.frames + frames, self._now.bad + bad)
            if not (bad and is_new and now.is_broken(self._before)) or self._complaint:
                return
            self._complaint = (
                f"{now.bad} of its first {now.frames} outputs are no numbers or of another shape,"
                f" of the model before it were {self._before.bad} of {self._before.frames}"
            )
        if self.on_broken is not None:
            self.on_broken()

    def _good(self) -> Outputs:
        """What the next model is held to: this one, unless it is broken or hardly ran."""
        is_known = self._now.frames >= _ENOUGH_FRAMES and not self._complaint
        return self._now if is_known else self._before

    def complaint(self, epoch: int) -> str:
        """Why the model of this epoch may not go on; "" if it may."""
        with self._lock:
            return self._complaint if epoch == self._epoch else ""
