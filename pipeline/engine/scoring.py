"""From logits to predictions. Pure."""

from __future__ import annotations

import numpy as np

from pipeline.types import LogitsNk, Prediction

BEST = 5
"""Predictions in a result."""


def softmax_nk(logits_nk: LogitsNk) -> LogitsNk:
    """Confidences over classes, each row adding up to 1."""
    shifted = np.exp(logits_nk - logits_nk.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def best_predictions(logits_nk: LogitsNk, labels: tuple[str, ...]) -> list[tuple[Prediction, ...]]:
    """For each row the ``BEST`` classes, the most confident first; ties in the labels' order."""
    confidences_nk = softmax_nk(logits_nk)
    best_nk = np.argsort(-confidences_nk, axis=1, kind="stable")[:, :BEST]
    picked_nk = np.take_along_axis(confidences_nk, best_nk, axis=1)
    return [
        tuple(
            Prediction(labels[class_id], class_id, confidence)
            for class_id, confidence in zip(ids, confidences, strict=True)
        )
        for ids, confidences in zip(best_nk.tolist(), picked_nk.tolist(), strict=True)
    ]
