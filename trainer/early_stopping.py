"""When training ends before its last epoch. Pure: a resumed run decides by its history alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EarlyStopping:
    """Ends training after ``patience`` epochs in a row without gain; None: never.

    Gain is an accuracy (0 to 1) more than ``min_delta`` above that of the last epoch with gain, so
    that many small steps upwards count as soon as they add up to it.
    """

    patience: int | None = None
    min_delta: float = 0.0

    def is_due(self, accuracies: Sequence[float]) -> bool:
        """Whether to end after epochs with these held-out accuracies, the first epoch's first."""
        return self.patience is not None and self.without_gain(accuracies) >= self.patience

    def without_gain(self, accuracies: Sequence[float]) -> int:
        """How many epochs have gone by since the last that gained."""
        reached, since = float("-inf"), 0
        for accuracy in accuracies:
            if accuracy > reached + self.min_delta:
                reached, since = accuracy, 0
            else:
                since += 1
        return since
