"""Classes of which some have far fewer samples: what can be done, and what is said of it."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor, nn

from pipeline.errors import ConfigError
from trainer.data import Samples

BALANCES = ("none", "weights", "sampling")

_UNBALANCED = 10
"""From this ratio of the commonest class to the rarest on, the counts are shown unasked."""
_NAMED_CLASSES = 20


class ClassWeightedLoss(nn.Module):
    """Cross-entropy in which each sample counts by its class; the mean over the samples.

    Not torch's own mean, which divides by the weights' sum over the batch: a sample would count by
    its neighbours, and several small batches were not a large one.
    """

    weights_k: Tensor

    def __init__(self, weights_k: Tensor) -> None:
        super().__init__()
        self.register_buffer("weights_k", weights_k)

    def forward(self, logits_nk: Tensor, classes: Tensor) -> Tensor:
        """The scalar loss of logits and classes ``[N]``."""
        total = nn.functional.cross_entropy(
            logits_nk, classes, weight=self.weights_k, reduction="sum"
        )
        return total / len(classes)


def balanced(loss_of: nn.Module, samples: Samples, balance: str) -> nn.Module:
    """``loss_of``, or with ``weights`` the cross-entropy in which all classes count the same.

    Raises:
        ConfigError: see ``class_weights``.
    """
    return ClassWeightedLoss(class_weights(samples).float()) if balance == "weights" else loss_of


def class_weights(samples: Samples) -> Tensor:
    """``[K]`` float64, each class's inverse frequency; their mean over the samples is 1.

    Raises:
        ConfigError: a class has no sample, or the task has no classes.
    """
    counts = class_counts(samples)
    missing = [label for label, count in zip(samples.labels, counts, strict=True) if not count]
    if missing:
        raise ConfigError(
            f"--balance has nothing to weigh: no sample to learn {', '.join(missing)} from."
            " Add some, or leave --balance out."
        )
    return len(samples) / (len(counts) * torch.tensor(counts, dtype=torch.float64))


def sample_weights(samples: Samples) -> Tensor:
    """``[N]`` float64: how often each sample is drawn, so that all classes come as often.

    Raises:
        ConfigError: see ``class_weights``.
    """
    return class_weights(samples)[torch.tensor(samples.targets())]


def class_counts(samples: Samples) -> list[int]:
    """How many samples each class has, in the order of ``labels``.

    Raises:
        ConfigError: the task has no classes.
    """
    if samples.task != "single-label":
        raise ConfigError(
            f"--balance goes with pictures of one class each, and these are {samples.task}"
        )
    counts = Counter(samples.targets())
    return [counts[class_id] for class_id in range(len(samples.labels))]


def lines_on_classes(samples: Samples, balance: str) -> list[str]:
    """What a person wants to know: the counts, where they are balanced or should be.

    Raises:
        ConfigError: see ``class_counts``; not without ``balance``.
    """
    if balance == "none" and samples.task != "single-label":
        return []
    counts = class_counts(samples)
    is_unbalanced = max(counts) >= _UNBALANCED * min(counts)
    if balance == "none" and not is_unbalanced:
        return []
    pairs = sorted(zip(counts, samples.labels, strict=True))
    shown = ", ".join(f"{label} {count}" for count, label in pairs[:_NAMED_CLASSES])
    more = f" and {len(pairs) - _NAMED_CLASSES} more" if len(pairs) > _NAMED_CLASSES else ""
    lines = [f"samples to learn each class from: {shown}{more}"]
    if balance == "none":
        lines.append(
            f"the commonest class has {max(counts)} and the rarest {min(counts)}:"
            " consider --balance weights or --balance sampling"
        )
    return lines
