"""From a network's outputs to what a result says of a frame, by task. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, overload

import numpy as np

from pipeline.types import LogitsNk, Prediction, Task, Values

BEST = 5
"""Predictions in a result."""


def softmax_nk(logits_nk: LogitsNk) -> LogitsNk:
    """Confidences over classes, each row adding up to 1."""
    shifted = np.exp(logits_nk - logits_nk.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def sigmoid_nk(logits_nk: LogitsNk) -> LogitsNk:
    """Confidences of labels, each 0 to 1 by itself; no logit is too large for it."""
    return np.exp(-np.logaddexp(np.float32(0), -logits_nk))


class Ranking(Sequence[Prediction]):
    """A row's best classes or labels, the most confident first.

    A ``Prediction`` is made when somebody looks at it: made for every class of every frame at once,
    by the engine's thread, they were a tenth of all that a worker spent on a frame besides decoding
    and computing (docs/measurements.md). ``labels`` are all of the model's, by class id.
    """

    __slots__ = ("_class_ids", "_confidences", "_labels")

    def __init__(
        self, labels: tuple[str, ...], class_ids: list[int], confidences: list[float]
    ) -> None:
        self._labels = labels
        self._class_ids = class_ids
        self._confidences = confidences

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Prediction, ...]: ...
    def __getitem__(self, index: int | slice) -> Prediction | tuple[Prediction, ...]:
        if isinstance(index, slice):
            return tuple(self)[index]
        class_id = self._class_ids[index]
        return Prediction(self._labels[class_id], class_id, self._confidences[index])

    def __iter__(self) -> Iterator[Prediction]:
        for class_id, confidence in zip(self._class_ids, self._confidences, strict=True):
            yield Prediction(self._labels[class_id], class_id, confidence)

    def __len__(self) -> int:
        return len(self._class_ids)

    def __repr__(self) -> str:
        return f"Ranking({', '.join(f'{each.label} {each.confidence:.3f}' for each in self)})"


class Answers(NamedTuple):
    """Of each row of a batch its best predictions; of a regression none, and its values."""

    rankings: Sequence[Sequence[Prediction]]
    values: Sequence[Values | None]


def answers_of(task: Task, logits_nk: LogitsNk, labels: tuple[str, ...]) -> Answers:
    """What results say of a batch's rows."""
    if task == "regression":
        return Answers([()] * len(logits_nk), named_values(logits_nk, labels))
    confidences_nk = sigmoid_nk(logits_nk) if task == "multi-label" else softmax_nk(logits_nk)
    return Answers(_rankings(confidences_nk, labels), [None] * len(logits_nk))


def best_predictions(logits_nk: LogitsNk, labels: tuple[str, ...]) -> list[Ranking]:
    """For each row the ``BEST`` classes of a single-label model, the most confident first; ties in
    the labels' order."""
    return _rankings(softmax_nk(logits_nk), labels)


def named_values(values_nk: LogitsNk, labels: tuple[str, ...]) -> list[Values]:
    """Each row by the values' names; numbers are the shortest that are the same float32."""
    return [
        dict(zip(labels, map(float, row), strict=True))
        for row in values_nk.astype(np.str_).tolist()
    ]


def _rankings(confidences_nk: LogitsNk, labels: tuple[str, ...]) -> list[Ranking]:
    best_nk = np.argsort(-confidences_nk, axis=1, kind="stable")[:, :BEST]
    picked_nk = confidences_nk[np.arange(len(best_nk))[:, None], best_nk]
    return [
        Ranking(labels, class_ids, confidences)
        for class_ids, confidences in zip(best_nk.tolist(), picked_nk.tolist(), strict=True)
    ]
