"""The networks that `headrace train` knows by name."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.errors import ConfigError

REFERENCE_SIZE = (24, 24)
"""Width and height of the reference network's samples: its first linear layer fixes them."""

_REFERENCE = "reference-cnn"
_TORCHVISION = "torchvision:"


class ReferenceCnn(nn.Module):
    """Two 3×3 convolutions (3→32→64), each with ReLU and 2×2 max pooling, then 2304→128→K.

    Takes ``[N, 3, 24, 24]`` float32 RGB, normalised, and gives ``[N, K]`` logits. The convolutions
    keep the size (padding 1), so two poolings leave 64 planes of 6×6: 2304 features.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.hidden = nn.Linear(64 * 6 * 6, 128)
        self.logits = nn.Linear(128, classes)
        self._initialise()

    def _initialise(self) -> None:
        # Kaiming's gain is derived for layers that a ReLU follows; none follows the last.
        for layer in (self.conv1, self.conv2, self.hidden):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.xavier_normal_(self.logits.weight)
        for name, parameter in self.named_parameters():
            if name.endswith(".bias"):
                nn.init.zeros_(parameter)

    def features(self, images_nchw: Tensor) -> Tensor:
        """What the linear layers see: ``[N, 2304]``."""
        images_nchw = self.pool(torch.relu(self.conv1(images_nchw)))
        images_nchw = self.pool(torch.relu(self.conv2(images_nchw)))
        return torch.flatten(images_nchw, 1)

    def forward(self, images_nchw: Tensor) -> Tensor:
        """``[N, 3, 24, 24]`` to ``[N, K]``."""
        return self.logits(torch.relu(self.hidden(self.features(images_nchw))))


def check_net(name: str, size: tuple[int, int] = REFERENCE_SIZE) -> None:
    """Checks that there is a network of this name for samples of this (width, height).

    Raises:
        ConfigError: there is none.
    """
    if name == _REFERENCE and size != REFERENCE_SIZE:
        raise ConfigError(
            f"{name} takes samples of 24x24, got {size[0]}x{size[1]}. Use --size 24x24, or a"
            " network of any size, such as --net torchvision:resnet18."
        )
    if name != _REFERENCE:
        _torchvision_name(name)


def build_net(name: str, classes: int, size: tuple[int, int] = REFERENCE_SIZE) -> nn.Module:
    """Makes a freshly initialised network, its weights drawn from torch's global generator.

    Args:
        name: ``reference-cnn``, or ``torchvision:NAME`` for any of torchvision's classifiers
            (``torchvision:resnet18``), without pretrained weights.
        classes: K, the number of logits.
        size: Width and height of the samples in pixels.

    Raises:
        ConfigError: see ``check_net``.
    """
    check_net(name, size)
    if name == _REFERENCE:
        return ReferenceCnn(classes)
    from torchvision import models

    return models.get_model(_torchvision_name(name), weights=None, num_classes=classes)


def _torchvision_name(name: str) -> str:
    from torchvision import models  # a second that the reference network needn't wait for

    known = models.list_models(module=models)
    wanted = name.removeprefix(_TORCHVISION)
    if not name.startswith(_TORCHVISION) or wanted not in known:
        raise ConfigError(
            f"there is no network {name!r}. Use {_REFERENCE}, or torchvision:NAME with one of"
            f" torchvision's {len(known)} classifiers ({known[0]}, …, {known[-1]})."
        )
    return wanted
