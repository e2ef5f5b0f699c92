"""Inference on held-out data: how good a network is, in all and for each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from trainer.data import Loader


@dataclass(frozen=True, slots=True)
class ClassCount:
    """One class's held-out samples: how many there are, and how many were named rightly."""

    label: str
    samples: int
    correct: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a network did on held-out data. ``loss`` is the mean cross-entropy."""

    loss: float
    classes: tuple[ClassCount, ...]

    @property
    def samples(self) -> int:
        """All held-out samples."""
        return sum(count.samples for count in self.classes)

    @property
    def accuracy(self) -> float:
        """Share of samples that were named rightly, 0 to 1; 0 without samples."""
        return sum(count.correct for count in self.classes) / max(1, self.samples)


def evaluate(
    served: nn.Module,
    loader: Loader,
    labels: Sequence[str],
    device: torch.device,
) -> Evaluation:
    """Runs ``served`` (uint8 NHWC to logits) over ``loader``; leaves it in evaluation mode."""
    served.eval()
    seen = torch.zeros(len(labels), dtype=torch.int64)
    correct = torch.zeros(len(labels), dtype=torch.int64)
    loss_sum = 0.0
    with torch.inference_mode():
        for batch_nhwc, classes in loader:
            logits_nk = served(batch_nhwc.to(device)).cpu()
            loss_sum += nn.functional.cross_entropy(logits_nk, classes, reduction="sum").item()
            seen += torch.bincount(classes, minlength=len(labels))
            right = classes[logits_nk.argmax(1) == classes]
            correct += torch.bincount(right, minlength=len(labels))
    counts = tuple(
        ClassCount(label, int(samples), int(hits))
        for label, samples, hits in zip(labels, seen, correct, strict=True)
    )
    return Evaluation(loss_sum / max(1, int(seen.sum())), counts)
