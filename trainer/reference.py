"""What held-out data looks like to a network: the manifest's reference statistics."""

from __future__ import annotations

import torch

from pipeline.artifact.reference import Reference
from pipeline.statistics import InputTally, ScoreTally
from trainer.data import Samples, heldout_loader
from trainer.evaluate import Predictions


def reference_of(samples: Samples, predictions: Predictions) -> Reference:
    """Counts held-out samples, and what the network that is published says of them, as it says it:
    calibrated where it is. Reads all samples once."""
    inputs = InputTally()
    for batch_nhwc, _ in heldout_loader(samples):
        inputs.add(batch_nhwc.numpy())
    if samples.task != "single-label":
        return Reference.of(inputs)
    classes = len(predictions.labels)
    scores = ScoreTally(classes)
    for logits_nk, _ in predictions.blocks():
        scores.add(logits_nk.numpy())
    true = torch.bincount(predictions.classes, minlength=classes)
    return Reference.of(inputs, scores, tuple(true.tolist()))
