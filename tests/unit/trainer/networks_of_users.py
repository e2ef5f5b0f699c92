"""Networks as users write them: for scripting, for tracing alone, and for neither."""

import torch
from torch import Tensor, nn


class Scriptable(nn.Module):
    """Flattens with ``view``, which wants contiguous pictures."""

    def __init__(self, classes: int = 3, side: int = 16) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.linear = nn.Linear(4 * side * side, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x)).relu()
        return self.linear(x.view(x.shape[0], -1))


class TraceOnly(Scriptable):
    """Scripting refuses keyword arguments of any name."""

    def forward(self, x: Tensor, **options: int) -> Tensor:
        return super().forward(x)


class BakedBatch(TraceOnly):
    """Tracing would write the example's batch size into the graph."""

    def forward(self, x: Tensor, **options: int) -> Tensor:
        return super().forward(x) + torch.zeros(int(x.shape[0]), 1)


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class FeatureMap(Scriptable):
    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class NotANumber(Scriptable):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.conv(x).view(x.shape[0], -1)) / 0.0 * 0.0


class WithAuxiliaryHead(nn.Module):
    """Gives a tuple in training, as Inception does."""

    def __init__(self, classes: int = 3, side: int = 24) -> None:
        super().__init__()
        self.late = Scriptable(classes, side)
        self.early = nn.Linear(3, classes)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        logits_nk = self.late(x)
        return (logits_nk, self.early(x.mean((2, 3)))) if self.training else logits_nk


MADE = Scriptable()
NUMBER = 3


def sized(classes: int) -> nn.Module:
    """Its weights are drawn from whatever seed is set."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, classes),
    )


def by_another_name(*, num_classes: int = 1000) -> nn.Module:
    return sized(num_classes)


def always_three() -> nn.Module:
    return Scriptable()


def needs_a_side(side: int, classes: int) -> nn.Module:
    return Scriptable(classes, side)


def needs_an_argument(classes: int) -> nn.Module:
    return Scriptable(classes)


def no_network() -> str:
    return "a network"
