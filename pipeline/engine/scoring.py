"""From logits to predictions. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np

from pipeline.types import LogitsNk, Prediction

BEST = 5
"""Predictions in a result."""


def softmax_nk(logits_nk: LogitsNk) -> LogitsNk:
    """Confidences over classes, each row adding up to 1."""
    shifted = np.exp(logits_nk - logits_nk.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


class Ranking(Sequence[Prediction]):
    """A row's best classes, the most confident first.

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


def best_predictions(logits_nk: LogitsNk, labels: tuple[str, ...]) -> list[Ranking]:
    """For each row the ``BEST`` classes, the most confident first; ties in the labels' order."""
    confidences_nk = softmax_nk(logits_nk)
    best_nk = np.argsort(-confidences_nk, axis=1, kind="stable")[:, :BEST]
    picked_nk = confidences_nk[np.arange(len(best_nk))[:, None], best_nk]
    return [
        Ranking(labels, class_ids, confidences)
        for class_ids, confidences in zip(best_nk.tolist(), picked_nk.tolist(), strict=True)
    ]
