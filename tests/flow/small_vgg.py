"""A VGG-11 with torchvision's convolutions and pooling, its linear layers of 64 and not of 4096."""

from __future__ import annotations

from torch import nn
from torchvision.models.vgg import cfgs, make_layers


def small_vgg11(num_classes: int) -> nn.Module:
    return nn.Sequential(
        make_layers(cfgs["A"]),
        nn.AdaptiveAvgPool2d((7, 7)),
        nn.Flatten(),
        nn.Linear(512 * 7 * 7, 64),
        nn.ReLU(inplace=True),
        nn.Dropout(),
        nn.Linear(64, num_classes),
    )
