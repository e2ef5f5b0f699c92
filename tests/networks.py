"""Networks that nobody should run: programs in a TorchScript file that do more than compute."""

from __future__ import annotations

from dataclasses import replace

import torch

from pipeline.artifact.artifact import Draft
from tests.artifacts import scripted, tiny_draft


class Writing(torch.nn.Module):
    """The tiny network's logits; its input is written to a file besides."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, batch_nhwc: torch.Tensor) -> torch.Tensor:
        torch.save(batch_nhwc, self.path)
        mean_n1 = batch_nhwc.to(torch.float32).mean(dim=(1, 2, 3)).unsqueeze(1) / 255.0
        return mean_n1 * torch.arange(3)


class WritingAtLoad(torch.nn.Module):
    """The same, when it is loaded."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.steps = torch.nn.Parameter(torch.arange(3.0))

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, str, bool]:
        return self.steps, self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, str, bool]) -> None:
        self.steps, self.path, self.training = state
        torch.save(self.steps, self.path)

    def forward(self, batch_nhwc: torch.Tensor) -> torch.Tensor:
        mean_n1 = batch_nhwc.to(torch.float32).mean(dim=(1, 2, 3)).unsqueeze(1) / 255.0
        return mean_n1 * self.steps


class Endless(torch.nn.Module):
    """Computes for ever."""

    def forward(self, batch_nhwc: torch.Tensor) -> torch.Tensor:
        ones = torch.ones(64, 64)
        while bool(ones[0, 0] > 0):
            ones = torch.matmul(ones, ones) / 64
        return ones


def draft_of(network: torch.nn.Module) -> Draft:
    """With the tiny network's golden vectors."""
    # Freezing leaves out what runs when a network is loaded.
    is_frozen = not isinstance(network, WritingAtLoad)
    return replace(tiny_draft(), model=scripted(network, is_frozen=is_frozen))
