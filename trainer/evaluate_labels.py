"""What is read off predictions where each label is there or not, whatever the others are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.types import Task
from trainer.evaluate import (
    ECE_BINS,
    ClassScore,
    ConfidenceBin,
    Predictions,
    bin_sums,
    bins_of,
    calibration_error,
    mean_of_known,
)


@dataclass(frozen=True, slots=True)
class LabelsEvaluation:
    """What a multi-label network did on held-out data.

    A label is given where its confidence is above a half. A label's ``samples`` are those that have
    it. ``exact`` samples were given all of their labels and no other; ``loss`` is the mean binary
    cross-entropy in nats over samples and labels. All shares are 0 without samples.
    """

    task: ClassVar[Task] = "multi-label"

    scores: tuple[ClassScore, ...]
    samples: int
    exact: int
    loss: float
    bins: tuple[ConfidenceBin, ...]

    @classmethod
    def of(cls, first: Predictions, *more: Predictions) -> LabelsEvaluation:
        """Judges all predictions together; they are of the same labels."""
        counts_3k = torch.zeros(3, len(first.labels), dtype=torch.int64)
        sums = torch.zeros(3, ECE_BINS, dtype=torch.float64)
        samples, exact, loss_sum = 0, 0, 0.0
        for part in (first, *more):
            samples += len(part)
            for logits_nk, targets_nk in part.blocks():
                given_nk, there_nk = logits_nk > 0, targets_nk > 0.5
                counts_3k += _counts(there_nk, given_nk)
                exact += int((given_nk == there_nk).all(1).sum())
                # As in ``evaluate``: float32 can't tell a confidence of 1 - 1e-8 from 1.
                precise_nk = logits_nk.double()
                sums += bin_sums(precise_nk.sigmoid().flatten(), there_nk.flatten())
                loss_sum += functional.binary_cross_entropy_with_logits(
                    precise_nk, targets_nk.double(), reduction="sum"
                ).item()
        scores = tuple(map(ClassScore, first.labels, *counts_3k.tolist()))
        loss = loss_sum / max(1, samples * len(scores))
        return cls(scores, samples, exact, loss, bins_of(sums))

    @property
    def exact_match(self) -> float:
        """Share of samples that were given all of their labels and no other, 0 to 1."""
        return self.exact / max(1, self.samples)

    @property
    def macro_precision(self) -> float:
        """Mean precision of the labels that a sample has, each counting the same."""
        return mean_of_known([score.precision for score in self.scores])

    @property
    def macro_recall(self) -> float:
        """Mean recall of the labels that a sample has."""
        return mean_of_known([score.recall for score in self.scores])

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the labels that a sample has."""
        return mean_of_known([score.f1 for score in self.scores])

    @property
    def ece(self) -> float:
        """As ``Evaluation.ece``, over every label of every sample: how far the sigmoid is from the
        share of samples that have the label."""
        return calibration_error(self.bins)

    @property
    def figures(self) -> dict[str, float]:
        """What manifest, summary and trackers say of it, by name."""
        return {
            "macro_f1": self.macro_f1,
            "macro_precision": self.macro_precision,
            "macro_recall": self.macro_recall,
            "exact_match": self.exact_match,
            "ece": self.ece,
        }


def _counts(there_nk: Tensor, given_nk: Tensor) -> Tensor:
    """``[3, K]`` int64: samples that have each label, that were given it, and that both."""
    return torch.stack((there_nk.sum(0), given_nk.sum(0), (there_nk & given_nk).sum(0)))
