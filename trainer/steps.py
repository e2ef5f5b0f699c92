"""How an epoch's batches make steps of the optimiser. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One epoch: ``accumulate`` batches make a step, and the last step takes what is left.

    Batches are numbered from 1; all but the last have ``batch_size`` samples. Batch normalisation
    sees each batch by itself: for it, several small batches aren't a large one.
    """

    samples: int
    batch_size: int
    accumulate: int = 1

    @property
    def batches(self) -> int:
        """Forward passes in the epoch."""
        return math.ceil(self.samples / self.batch_size)

    @property
    def steps(self) -> int:
        """Steps of the optimiser in the epoch."""
        return math.ceil(self.batches / self.accumulate)

    def ends_step(self, batch: int) -> bool:
        """Whether the optimiser steps after this batch."""
        return batch % self.accumulate == 0 or batch == self.batches

    def share(self, batch: int) -> float:
        """What this batch is of its step's samples, above 0 to 1.

        Mean losses that are weighed so add up to the mean over the step's samples, and their
        gradients to that of one large batch, also where the last batches are fewer or smaller.
        """
        samples_before_step = (batch - 1) // self.accumulate * self.accumulate * self.batch_size
        in_step = min(self.accumulate * self.batch_size, self.samples - samples_before_step)
        return self.in_batch(batch) / in_step

    def in_batch(self, batch: int) -> int:
        """How many samples this batch has."""
        return min(self.batch_size, self.samples - (batch - 1) * self.batch_size)
