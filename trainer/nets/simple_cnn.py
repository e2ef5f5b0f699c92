"""The small network: two convolutions, as the reference has them, or with options."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import ConfigError

REFERENCE_SIZE = (24, 24)
"""Width and height of the reference network's samples: its first linear layer fixes them."""

SMALLEST_SIDE = 4
"""Two poolings leave a quarter of each side."""

_SLOPES = {"relu": 0.0, "leaky-relu": 0.01, "prelu": 0.25}
"""How steep each activation is below zero at first: PyTorch's defaults. Gains follow from it."""

_LAST = {"kaiming-normal": "xavier-normal", "kaiming-uniform": "xavier-uniform"}
"""Kaiming's gain is derived for layers that an activation follows; none follows the last."""

INITS = (
    "kaiming-normal",
    "kaiming-uniform",
    "xavier-normal",
    "xavier-uniform",
    "orthogonal",
    "default",
)
"""Names of initialisations, after ``torch.nn.init``; ``default`` is what PyTorch's layers draw."""


@dataclass(frozen=True, slots=True)
class CnnOptions:
    """What can be changed of ``SimpleCnn``; as they are here, it is the reference network.

    Args:
        activation: ``relu``, ``leaky-relu`` (slope 0.01) or ``prelu`` (a learnt slope, 0.25 at
            first): the latter two let gradients through below zero.
        batch_norm: Whether each hidden layer's sums are normalised over the batch.
        dropout: The share of the hidden features that training leaves out, from 0 to below 1.
        init: One of ``INITS``.

    Raises:
        ConfigError: there is no such activation, initialisation or share.
    """

    activation: str = "relu"
    batch_norm: bool = False
    dropout: float = 0.0
    init: str = "kaiming-normal"

    def __post_init__(self) -> None:
        for option, got, known in (
            ("activation", self.activation, tuple(_SLOPES)),
            ("init", self.init, INITS),
        ):
            if got not in known:
                raise ConfigError(f"--{option} is {got!r}, expected one of {', '.join(known)}")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"--dropout is {self.dropout}, expected a share from 0 to below 1")

    def changed(self) -> dict[str, Any]:
        """The options that differ from the reference network's, by name."""
        usual = CnnOptions()
        return {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if getattr(self, each.name) != getattr(usual, each.name)
        }


_REFERENCE_OPTIONS = CnnOptions()


class SimpleCnn(nn.Module):
    """Two 3×3 convolutions (3→32→64), each activated and 2×2 max pooled, then F→128→K.

    Takes ``[N, 3, H, W]`` float32 RGB, normalised, and gives ``[N, K]`` logits. The convolutions
    keep the size (padding 1), so two poolings leave F = 64 · (H // 4) · (W // 4) features.

    Args:
        classes: K.
        size: W and H in pixels, each at least 4.
        options: What differs from the reference network.

    Raises:
        ConfigError: the samples are too small.
    """

    def __init__(
        self,
        classes: int = 10,
        size: tuple[int, int] = REFERENCE_SIZE,
        options: CnnOptions = _REFERENCE_OPTIONS,
    ) -> None:
        super().__init__()
        width, height = size
        if min(size) < SMALLEST_SIDE:
            raise ConfigError(
                f"simple-cnn takes samples of {SMALLEST_SIDE}x{SMALLEST_SIDE} or more,"
                f" got {width}x{height}"
            )
        self.conv1 = nn.Conv2d(3, 32, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.hidden = nn.Linear(64 * (height // 4) * (width // 4), 128)
        self.logits = nn.Linear(128, classes)
        # What isn't asked for is Identity: it has no state, and freezing takes it out.
        self.norm1 = nn.BatchNorm2d(32) if options.batch_norm else nn.Identity()
        self.norm2 = nn.BatchNorm2d(64) if options.batch_norm else nn.Identity()
        self.norm3 = nn.BatchNorm1d(128) if options.batch_norm else nn.Identity()
        self.activation1 = _activation(options.activation)
        self.activation2 = _activation(options.activation)
        self.activation3 = _activation(options.activation)
        self.dropout = nn.Dropout(options.dropout) if options.dropout else nn.Identity()
        self._initialise(options)

    def _initialise(self, options: CnnOptions) -> None:
        if options.init == "default":
            return
        for layer in (self.conv1, self.conv2, self.hidden):
            _draw(options.init, layer.weight, _SLOPES[options.activation])
        # Nothing is bent after the last layer: slope 1, of which each gain is 1.
        _draw(_LAST.get(options.init, options.init), self.logits.weight, 1.0)
        for name, parameter in self.named_parameters():
            if name.endswith(".bias"):
                nn.init.zeros_(parameter)

    def features(self, images_nchw: Tensor) -> Tensor:
        """What the linear layers see: ``[N, F]``."""
        images_nchw = self.pool(self.activation1(self.norm1(self.conv1(images_nchw))))
        images_nchw = self.pool(self.activation2(self.norm2(self.conv2(images_nchw))))
        return torch.flatten(images_nchw, 1)

    def forward(self, images_nchw: Tensor) -> Tensor:
        """``[N, 3, H, W]`` to ``[N, K]``."""
        hidden = self.activation3(self.norm3(self.hidden(self.features(images_nchw))))
        return self.logits(self.dropout(hidden))


class ReferenceCnn(SimpleCnn):
    """``SimpleCnn`` without options for 24×24: 2304→128→K. What benches and the demo run."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__(classes)


def _activation(name: str) -> nn.Module:
    if name == "relu":
        return nn.ReLU()
    slope = _SLOPES[name]
    return nn.PReLU(init=slope) if name == "prelu" else nn.LeakyReLU(slope)


def _draw(init: str, weight: Tensor, slope: float) -> None:
    """Draws a layer's weights for an activation of this slope below zero (He et al. 2015,
    arXiv:1502.01852, equations 10 and 15): the spread of signals or gradients stays."""
    gain = nn.init.calculate_gain("leaky_relu", slope)
    match init:
        case "kaiming-normal":
            nn.init.kaiming_normal_(weight, a=slope)
        case "kaiming-uniform":
            nn.init.kaiming_uniform_(weight, a=slope)
        case "xavier-normal":
            nn.init.xavier_normal_(weight, gain=gain)
        case "xavier-uniform":
            nn.init.xavier_uniform_(weight, gain=gain)
        case _:
            nn.init.orthogonal_(weight, gain=gain)
