"""How long a swap kept frames waiting, from the engine's own times."""

from __future__ import annotations

import statistics
import threading
from collections import deque
from dataclasses import dataclass

_KEPT = 512


@dataclass(frozen=True, slots=True)
class _Turn:
    size: int
    started_mono_s: float
    taken_s: float
    epoch: int


class TurnTimes:
    """The engine's last batches: when each started, how long it took, which model ran it.

    Thread-safe: the engine thread notes, the swap thread asks.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turns: deque[_Turn] = deque(maxlen=_KEPT)

    def note(self, size: int, started_mono_s: float, taken_s: float, epoch: int) -> None:
        """One batch is done."""
        with self._lock:
            self._turns.append(_Turn(size, started_mono_s, taken_s, epoch))

    def has_run(self, epoch: int) -> bool:
        """Whether a batch of this model, or a later one, is done."""
        with self._lock:
            return bool(self._turns) and self._turns[-1].epoch >= epoch

    def pause_s(self, since_mono_s: float) -> float:
        """How much longer than usual a batch took since then, at the most.

        Loading a network holds the interpreter's lock for some milliseconds; that is what a frame
        feels of a swap, the exchange of the reference itself takes less than a microsecond. Usual
        is the median of the batches before, of the same size where there were any. 0 without
        batches to compare.
        """
        with self._lock:
            turns = list(self._turns)
        before = [turn for turn in turns if turn.started_mono_s < since_mono_s]
        during = [turn for turn in turns if turn.started_mono_s >= since_mono_s]
        if not before or not during:
            return 0.0
        longest = 0.0
        for turn in during:
            alike = [other.taken_s for other in before if other.size == turn.size]
            usual_s = statistics.median(alike or [other.taken_s for other in before])
            longest = max(longest, turn.taken_s - usual_s)
        return longest
