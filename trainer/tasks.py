"""What training does differently by task: the loss, and how predictions are judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline.errors import ConfigError
from pipeline.types import Task
from trainer.data import SplitData
from trainer.evaluate import Evaluation, Predictions
from trainer.evaluate_labels import LabelsEvaluation
from trainer.evaluate_values import ValuesEvaluation
from trainer.gate import Measure

AnyEvaluation: TypeAlias = Evaluation | LabelsEvaluation | ValuesEvaluation

_LOSSES: Mapping[Task, Callable[[], nn.Module]] = {
    "single-label": nn.CrossEntropyLoss,
    "multi-label": nn.BCEWithLogitsLoss,
    "regression": nn.MSELoss,
}

MEASURES: Mapping[Task, Measure] = {
    "single-label": "accuracy",
    "multi-label": "f1",
    "regression": "mse",
}
"""What the gate compares by."""


def loss_of(task: Task) -> nn.Module:
    """The loss that is trained on: the mean of cross-entropies in nats over a batch's samples, of
    binary ones over its samples and labels, or of squared errors over its samples and values."""
    return _LOSSES[task]()


def evaluate(first: Predictions, *more: Predictions) -> AnyEvaluation:
    """Judges all predictions together; they are of the same labels and task."""
    if first.task == "single-label":
        return Evaluation.of(first, *more)
    if first.task == "multi-label":
        return LabelsEvaluation.of(first, *more)
    return ValuesEvaluation.of(first, *more)


def summed_entropy(task: Task, logits_nk: Tensor, targets: Tensor) -> Tensor:
    """The sum over samples (and labels) of what ``loss_of`` is the mean of; not of a regression."""
    if task == "multi-label":
        targets_nk = targets.to(logits_nk.dtype)
        return functional.binary_cross_entropy_with_logits(logits_nk, targets_nk, reduction="sum")
    return functional.cross_entropy(logits_nk, targets, reduction="sum")


def has_a_mistake(predictions: Predictions) -> bool:
    """Whether one sample at least got another class, or other labels, than its own."""
    if predictions.task == "multi-label":
        return bool(((predictions.logits_nk > 0) != (predictions.targets > 0.5)).any())
    return bool((predictions.logits_nk.argmax(1) != predictions.targets).any())


def scores_of(predictions: Predictions) -> NDArray[np.float64]:
    """What each sample is worth to the gate, ``[N]``, more being better: 1 if it was given the
    right class, else 0; of several labels its F1, from 0 to 1; of a regression the mean squared
    error, below zero. Outputs that aren't finite are worth 0, in a regression minus infinity."""
    logits_nk, targets = predictions.logits_nk.double(), predictions.targets
    is_finite_n = logits_nk.isfinite().all(1)
    if predictions.task == "regression":
        error_n = (logits_nk - targets).square().mean(1)
        return -torch.where(is_finite_n, error_n, torch.inf).numpy()
    if predictions.task == "multi-label":
        score_n = _f1_of_samples(logits_nk > 0, targets > 0.5)
    else:
        score_n = (logits_nk.argmax(1) == targets).double()
    return torch.where(is_finite_n, score_n, 0.0).numpy()


def _f1_of_samples(given_nk: Tensor, there_nk: Tensor) -> Tensor:
    """``[N]`` float64: 1 where a sample was given just its labels, also where it has none."""
    both_n = (given_nk & there_nk).sum(1).double()
    all_n = given_nk.sum(1) + there_nk.sum(1)
    return torch.where(all_n > 0, 2 * both_n / all_n.clamp(min=1), 1.0)


def read_as(data: SplitData, task: Task) -> None:
    """Has targets taken as ``task``'s, where the data alone can't say: numbers that are all 0 or 1
    are values, or whether a label is there.

    Args:
        data: Just read; is changed.
        task: What the user says of it.

    Raises:
        ConfigError: the targets are something else.
    """
    if task == data.task:
        return
    if (data.task, task) != ("regression", "multi-label"):
        raise ConfigError(
            f"--task is {task}, and the data are {data.task}. Leave --task out, or give other data."
        )
    rows = chain(data.train.targets(), data.heldout.targets())
    numbers = chain.from_iterable(row for row in rows if not isinstance(row, int))
    other = next((number for number in numbers if number not in (0, 1)), None)
    if other is not None:
        raise ConfigError(
            f"--task is multi-label, and a target is {other:g}: expected 0 or 1 for each label"
        )
    data.train.task = data.heldout.task = task
