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


def needs_an_argument(classes: int) -> nn.Module:
    return Scriptable(classes)


def no_network() -> str:
    return "a network"
