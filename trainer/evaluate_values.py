"""What is read off predictions where the network's outputs are values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from pipeline.types import Task
from trainer.evaluate import Predictions


@dataclass(frozen=True, slots=True)
class ValueScore:
    """One value on held-out data, in its own unit.

    ``r2`` is the share of the value's variance that the network accounts for, 1 at most, below 0
    for one that is worse than always saying the mean; None where the value is always the same.
    """

    label: str
    mae: float
    rmse: float
    r2: float | None


@dataclass(frozen=True, slots=True)
class ValuesEvaluation:
    """What a regression did on held-out data. ``loss`` is the mean squared error over samples and
    values. Without samples all errors are 0."""

    task: ClassVar[Task] = "regression"

    scores: tuple[ValueScore, ...]
    samples: int
    loss: float

    @classmethod
    def of(cls, first: Predictions, *more: Predictions) -> ValuesEvaluation:
        """Judges all predictions together; they are of the same values."""
        parts = (first, *more)
        truth_nk = torch.cat([part.targets for part in parts]).double()
        off_nk = torch.cat([part.logits_nk for part in parts]).double() - truth_nk
        samples = len(truth_nk)
        squared_k = off_nk.square().sum(0)
        spread_k = (truth_nk - truth_nk.mean(0)).square().sum(0)
        columns = (off_nk.abs().sum(0).tolist(), squared_k.tolist(), spread_k.tolist())
        scores = tuple(
            ValueScore(
                label,
                mae=absolute / max(1, samples),
                rmse=math.sqrt(squared / max(1, samples)),
                r2=1 - squared / spread if spread > 0 else None,
            )
            for label, absolute, squared, spread in zip(first.labels, *columns, strict=True)
        )
        loss = float(squared_k.sum()) / max(1, off_nk.numel())
        return cls(scores, samples, loss)

    @property
    def mae(self) -> float:
        """Mean absolute error over samples and values."""
        return sum(score.mae for score in self.scores) / len(self.scores)

    @property
    def rmse(self) -> float:
        """Square root of the mean squared error over samples and values."""
        return math.sqrt(self.loss)

    @property
    def r2(self) -> float | None:
        """Mean R² of the values that differ from sample to sample; None without such a one."""
        known = [score.r2 for score in self.scores if score.r2 is not None]
        return sum(known) / len(known) if known else None

    @property
    def figures(self) -> dict[str, float]:
        """What manifest, summary and trackers say of it, by name."""
        known = {} if self.r2 is None else {"r2": self.r2}
        return {"mae": self.mae, "rmse": self.rmse, **known}
