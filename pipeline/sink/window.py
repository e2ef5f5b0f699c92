"""What is remembered of the recent past, each in fixed memory: a rate, ages, right and wrong.

None of these locks; their owner does.
"""

from __future__ import annotations

from array import array
from collections import deque

import numpy as np


class RecentRate:
    """How many a second, over the last ``span_s`` seconds."""

    def __init__(self, span_s: float = 5.0, slots: int = 20) -> None:
        self._slot_s = span_s / slots
        self._counts = [0] * slots
        self._first_mono_s: float | None = None
        self._newest = 0

    def add(self, count: int, now_mono_s: float) -> None:
        """Counts ``count`` at ``now_mono_s``."""
        if self._first_mono_s is None:
            self._first_mono_s = now_mono_s
            self._newest = int(now_mono_s / self._slot_s)
        self._move_to(now_mono_s)
        self._counts[self._newest % len(self._counts)] += count

    def per_s(self, now_mono_s: float) -> float:
        """The rate now: 0 before the first, and again when nothing came for the whole span."""
        if self._first_mono_s is None:
            return 0.0
        self._move_to(now_mono_s)
        in_newest_s = now_mono_s - self._newest * self._slot_s
        covered_s = (len(self._counts) - 1) * self._slot_s + in_newest_s
        # The very first slot is too short to tell a rate from: it counts as a whole one.
        seen_s = max(self._slot_s, now_mono_s - self._first_mono_s)
        return sum(self._counts) / min(covered_s, seen_s)

    def _move_to(self, now_mono_s: float) -> None:
        slot = int(now_mono_s / self._slot_s)
        for passed in range(self._newest + 1, min(slot, self._newest + len(self._counts)) + 1):
            self._counts[passed % len(self._counts)] = 0
        self._newest = max(slot, self._newest)


class RecentAges:
    """Quantiles of the ages within the last ``span_s`` seconds, of the last ``capacity`` frames."""

    def __init__(self, span_s: float = 10.0, capacity: int = 4096) -> None:
        self._span_s = span_s
        self._ages_s = array("d", bytes(8 * capacity))
        self._at_mono_s = array("d", bytes(8 * capacity))
        self._added = 0

    def add(self, age_s: float, now_mono_s: float) -> None:
        """Remembers one frame's age."""
        slot = self._added % len(self._ages_s)
        self._ages_s[slot] = age_s
        self._at_mono_s[slot] = now_mono_s
        self._added += 1

    def quantiles_s(self, which: tuple[float, ...], now_mono_s: float) -> tuple[float, ...] | None:
        """The ages in seconds at these quantiles (0 to 1); None if there was no frame lately."""
        used = min(self._added, len(self._ages_s))
        is_recent = np.frombuffer(self._at_mono_s)[:used] >= now_mono_s - self._span_s
        recent_s = np.frombuffer(self._ages_s)[:used][is_recent]
        if not len(recent_s):
            return None
        return tuple(float(age_s) for age_s in np.quantile(recent_s, which))


class RecentTruth:
    """How many of the last ``capacity`` frames whose truth is known were right."""

    def __init__(self, capacity: int) -> None:
        self._right: deque[bool] = deque(maxlen=capacity)
        self._right_count = 0

    def add(self, is_right: bool) -> None:
        """Remembers one frame."""
        if len(self._right) == self._right.maxlen:
            self._right_count -= self._right[0]
        self._right.append(is_right)
        self._right_count += is_right

    @property
    def frames(self) -> int:
        """Over how many frames ``accuracy`` is."""
        return len(self._right)

    @property
    def accuracy(self) -> float | None:
        """0 to 1; None while no truth is known."""
        return self._right_count / len(self._right) if self._right else None
