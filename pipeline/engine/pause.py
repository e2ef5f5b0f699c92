"""How long a swap kept frames waiting, from the engine's own times."""

from __future__ import annotations

import statistics
import threading
from collections import deque
from typing import NamedTuple

_KEPT = 512


class _Turn(NamedTuple):
    size: int
    started_mono_s: float
    taken_s: float


class PauseWatch:
    """How much longer than usual a batch took since it began, at the most.

    Loading a network holds the interpreter's lock for some milliseconds; that is what a frame feels
    of a swap, the exchange of the reference itself takes less than a microsecond. Usual is the
    median of the batches before, of the same size where there were any.

    Owned by: the ``TurnTimes`` that began it.
    """

    def __init__(self, before: list[_Turn], since_mono_s: float) -> None:
        self._since_mono_s = since_mono_s
        taken_s: dict[int, list[float]] = {}
        for turn in before:
            taken_s.setdefault(turn.size, []).append(turn.taken_s)
        self._usual_s = {size: statistics.median(each) for size, each in taken_s.items()}
        self._usual_of_all_s = statistics.median([turn.taken_s for turn in before] or [0.0])
        self._longest_s = 0.0

    @property
    def pause_s(self) -> float:
        """So far, in seconds; 0 without batches to compare."""
        return self._longest_s

    def note(self, turn: _Turn) -> None:
        """One batch is done; it counts if it began after the watch did."""
        if self._usual_s and turn.started_mono_s >= self._since_mono_s:
            usual_s = self._usual_s.get(turn.size, self._usual_of_all_s)
            self._longest_s = max(self._longest_s, turn.taken_s - usual_s)


class TurnTimes:
    """The engine's last batches: how long they took, and which model ran the last one.

    Thread-safe: the engine thread notes, the swap thread asks.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turns: deque[_Turn] = deque(maxlen=_KEPT)
        self._epoch = 0
        self._watch: PauseWatch | None = None

    def note(self, size: int, started_mono_s: float, taken_s: float, epoch: int) -> None:
        """One batch is done."""
        turn = _Turn(size, started_mono_s, taken_s)
        with self._lock:
            self._turns.append(turn)
            if self._watch is not None:
                self._watch.note(turn)
            self._epoch = epoch

    def has_run(self, epoch: int) -> bool:
        """Whether a batch of this model, or a later one, is done."""
        with self._lock:
            return self._epoch >= epoch

    def watch(self, since_mono_s: float) -> PauseWatch:
        """Begins to look for a pause in batches from then on; the watch before is over."""
        with self._lock:
            self._watch = PauseWatch(list(self._turns), since_mono_s)
            return self._watch
