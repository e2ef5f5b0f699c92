"""When training ends before its last epoch. Pure: a resumed run decides by its history alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EarlyStopping:
    """Ends training after ``patience`` epochs in a row without gain; None: never.

    Gain is a goal (``EpochRecord.goal``) more than ``min_delta`` above that of the last epoch with
    gain, so that many small steps upwards count as soon as they add up to it.
    """

    patience: int | None = None
    min_delta: float = 0.0

    def is_due(self, goals: Sequence[float]) -> bool:
        """Whether to end after epochs with these goals, the first epoch's first."""
        return self.patience is not None and self.without_gain(goals) >= self.patience

    def without_gain(self, goals: Sequence[float]) -> int:
        """How many epochs have gone by since the last that gained."""
        reached, since = float("-inf"), 0
        for goal in goals:
            if goal > reached + self.min_delta:
                reached, since = goal, 0
            else:
                since += 1
        return since
