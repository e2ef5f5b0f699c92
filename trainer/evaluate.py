"""Inference on held-out data, and what is read off it where each sample is of one class.

Other tasks have files of their own: ``evaluate_labels`` and ``evaluate_values``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import ClassVar

import torch
from torch import Tensor, nn

from pipeline.types import Task
from trainer.data import Loader

ECE_BINS = 15
"""Of equal width, as in the tables of Guo et al. 2017 (see ``Evaluation.ece``)."""

_ROWS_AT_ONCE = 4096
"""Logits are made float64 this many samples at a time: 33 MB for a thousand classes."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a network said of samples whose targets are known, on the CPU.

    ``logits_nk`` is ``[N, K]`` float32, ``labels`` the K outputs' names; ``targets`` is, as in
    ``Samples``, ``[N]`` int64 or ``[N, K]`` float32.

    Raises:
        ValueError: the shapes are others.
    """

    labels: tuple[str, ...]
    logits_nk: Tensor
    targets: Tensor
    task: Task = "single-label"

    def __post_init__(self) -> None:
        if self.logits_nk.shape != (len(self), len(self.labels)):
            got, expected = list(self.logits_nk.shape), [len(self), len(self.labels)]
            raise ValueError(f"the logits are {got}, expected {expected}")
        expected = self.logits_nk.shape[: 1 if self.task == "single-label" else 2]
        if self.targets.shape != expected:
            got = list(self.targets.shape)
            raise ValueError(f"the targets are {got}, expected {list(expected)}: {self.task}")

    def __len__(self) -> int:
        return len(self.targets)

    def blocks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits and targets of some thousand samples at a time; the same memory."""
        return zip(
            self.logits_nk.split(_ROWS_AT_ONCE), self.targets.split(_ROWS_AT_ONCE), strict=True
        )

    def part(self, start: int, step: int) -> Predictions:
        """Every ``step``-th sample from ``start`` on; the same memory."""
        return replace(
            self, logits_nk=self.logits_nk[start::step], targets=self.targets[start::step]
        )

    def head(self, samples: int) -> Predictions:
        """The first so many; the same memory."""
        return replace(self, logits_nk=self.logits_nk[:samples], targets=self.targets[:samples])

    def at(self, temperature: float) -> Predictions:
        """The same with logits divided by ``temperature``."""
        return replace(self, logits_nk=self.logits_nk / temperature)


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class on held-out data; ``correct`` of ``samples`` were named rightly, ``predicted``
    were given this name, rightly or not.

    A class without samples says nothing of the network: its scores are None. One that is never
    predicted has precision 0, although 0 of 0 is undefined: never naming a class must not pay.
    """

    label: str
    samples: int
    predicted: int
    correct: int

    @property
    def precision(self) -> float | None:
        """Share of what was given this name that is of this class, 0 to 1."""
        return self.correct / max(1, self.predicted) if self.samples else None

    @property
    def recall(self) -> float | None:
        """Share of this class's samples that were named rightly, 0 to 1."""
        return self.correct / self.samples if self.samples else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall, 0 to 1."""
        return 2 * self.correct / (self.samples + self.predicted) if self.samples else None


@dataclass(frozen=True, slots=True)
class ConfidenceBin:
    """The samples whose best class got a softmax within one of ``ECE_BINS`` equal parts of 0..1,
    the upper end included. Of a multi-label network each label of each sample counts by itself, by
    its sigmoid, and ``correct`` are those that are there."""

    samples: int
    correct: int
    confidence_sum: float


@dataclass(frozen=True, slots=True)
class Confusion:
    """``samples`` of class ``true`` were taken for ``predicted``."""

    true: str
    predicted: str
    samples: int


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What a network did on held-out data.

    ``confusion_kk`` is ``[K, K]`` int64: how many samples of each row's class were given each
    column's name. ``loss`` is the mean cross-entropy in nats. All shares are 0 without samples.
    """

    task: ClassVar[Task] = "single-label"

    labels: tuple[str, ...]
    confusion_kk: Tensor
    loss: float
    bins: tuple[ConfidenceBin, ...]

    @classmethod
    def of(cls, first: Predictions, *more: Predictions) -> Evaluation:
        """Judges all predictions together; they are of the same classes."""
        parts = (first, *more)
        confusion_kk = reduce(add, (_confusion(part) for part in parts))
        shares = [_confidence_and_loss(part) for part in parts]
        confidence = torch.cat([confidence for confidence, _ in shares])
        is_right = torch.cat([part.logits_nk.argmax(1) == part.targets for part in parts])
        loss = sum(float(losses.sum()) for _, losses in shares) / max(1, len(confidence))
        return cls(first.labels, confusion_kk, loss, bins_of(bin_sums(confidence, is_right)))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Evaluation)
            and (self.labels, self.loss, self.bins) == (other.labels, other.loss, other.bins)
            and torch.equal(self.confusion_kk, other.confusion_kk)
        )

    def __hash__(self) -> int:
        return hash((self.labels, self.loss, self.bins))

    @property
    def samples(self) -> int:
        """All held-out samples."""
        return int(self.confusion_kk.sum())

    @property
    def accuracy(self) -> float:
        """Share of samples that were named rightly, 0 to 1."""
        return int(self.confusion_kk.trace()) / max(1, self.samples)

    @property
    def classes(self) -> tuple[ClassScore, ...]:
        """Each class's scores, in the order of ``labels``."""
        counts = zip(
            self.labels,
            self.confusion_kk.sum(1).tolist(),
            self.confusion_kk.sum(0).tolist(),
            self.confusion_kk.diagonal().tolist(),
            strict=True,
        )
        return tuple(ClassScore(*each) for each in counts)

    @property
    def macro_precision(self) -> float:
        """Mean precision of the classes that have samples, each counting the same."""
        return mean_of_known([score.precision for score in self.classes])

    @property
    def macro_recall(self) -> float:
        """Mean recall of the classes that have samples; also known as balanced accuracy."""
        return mean_of_known([score.recall for score in self.classes])

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes that have samples."""
        return mean_of_known([score.f1 for score in self.classes])

    @property
    def ece(self) -> float:
        """Expected calibration error, 0 to 1: how far confidence is from the share of right
        answers, as the mean over ``ECE_BINS`` bins weighted by their samples.

        Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, ICML 2017, eq. 3.
        It is biased upwards where bins have few samples.
        """
        return calibration_error(self.bins)

    @property
    def figures(self) -> dict[str, float]:
        """What manifest, summary and trackers say of it, by name."""
        return {
            "accuracy": self.accuracy,
            "macro_precision": self.macro_precision,
            "macro_recall": self.macro_recall,
            "ece": self.ece,
        }

    def confusions(self, most: int) -> list[Confusion]:
        """The mistakes that were made most often, at most ``most`` of them, the worst first."""
        wrong_kk = self.confusion_kk - torch.diag(self.confusion_kk.diagonal())
        # Stable, so that mistakes as frequent as each other come in the order of the classes.
        order = wrong_kk.flatten().argsort(descending=True, stable=True)[:most].tolist()
        rows = (divmod(cell, len(self.labels)) for cell in order)
        return [
            Confusion(self.labels[true], self.labels[predicted], int(wrong_kk[true, predicted]))
            for true, predicted in rows
            if wrong_kk[true, predicted] > 0
        ]


def predict(
    served: nn.Module,
    loader: Loader,
    labels: Sequence[str],
    device: torch.device,
    task: Task = "single-label",
) -> Predictions:
    """Runs ``served`` (uint8 NHWC to logits) over ``loader``; leaves it in evaluation mode.

    Keeps all logits: 4 bytes a sample and output.
    """
    served.eval()
    logits: list[Tensor] = []
    targets: list[Tensor] = []
    with torch.inference_mode():
        for batch_nhwc, batch_targets in loader:
            logits.append(served(batch_nhwc.to(device, non_blocking=True)).cpu().float())
            targets.append(batch_targets)
    return Predictions(tuple(labels), torch.cat(logits), torch.cat(targets), task)


def _confusion(predictions: Predictions) -> Tensor:
    """``[K, K]`` int64, see ``Evaluation``."""
    k = predictions.logits_nk.shape[1]
    cells = predictions.targets * k + predictions.logits_nk.argmax(1)
    return torch.bincount(cells, minlength=k * k).reshape(k, k)


def _confidence_and_loss(predictions: Predictions) -> tuple[Tensor, Tensor]:
    """Of each sample the best class's softmax and the cross-entropy, both ``[N]`` float64."""
    # float32 can't tell a confidence of 1 - 1e-8 from 1, and sums of many samples lose digits.
    confidences, losses = [], []
    for logits_nk, classes_n in predictions.blocks():
        log_softmax_nk = logits_nk.double().log_softmax(1)
        confidences.append(log_softmax_nk.amax(1).exp())
        losses.append(-log_softmax_nk.gather(1, classes_n.unsqueeze(1)).squeeze(1))
    return torch.cat(confidences), torch.cat(losses)


def bin_sums(confidence: Tensor, is_right: Tensor) -> Tensor:
    """Sorts into ``ECE_BINS`` bins by confidence (float64); gives ``[3, ECE_BINS]`` float64: how
    many, how many of them are right, and the sum of their confidences."""
    # (0, 1/15], (1/15, 2/15], …; a confidence that is no number goes to an end, and shows in the
    # sum.
    index = ((confidence * ECE_BINS).ceil().long() - 1).clamp(0, ECE_BINS - 1)
    return torch.stack(
        (
            torch.bincount(index, minlength=ECE_BINS).double(),
            torch.bincount(index[is_right], minlength=ECE_BINS).double(),
            torch.bincount(index, weights=confidence, minlength=ECE_BINS),
        )
    )


def bins_of(sums: Tensor) -> tuple[ConfidenceBin, ...]:
    """The bins of what ``bin_sums`` gives, or of several such added up."""
    return tuple(
        ConfidenceBin(int(samples), int(correct), confidence)
        for samples, correct, confidence in sums.T.tolist()
    )


def calibration_error(bins: Sequence[ConfidenceBin]) -> float:
    """See ``Evaluation.ece``; 0 where nothing is in any bin."""
    gaps = sum(abs(each.correct - each.confidence_sum) for each in bins)
    return gaps / max(1, sum(each.samples for each in bins))


def mean_of_known(scores: Sequence[float | None]) -> float:
    """Of those that aren't None; 0 without any."""
    known = [score for score in scores if score is not None]
    return sum(known) / max(1, len(known))
