"""A network of grey pictures: one input channel, as those of radiology have."""

from __future__ import annotations

from torch import nn


def one_channel(num_classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(128, num_classes),
    )
