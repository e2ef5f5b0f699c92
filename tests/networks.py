"""Networks that nobody should run: those that do more than compute, are wrong, or are too slow."""

from __future__ import annotations

import functools
from dataclasses import replace

import torch

from pipeline.artifact.artifact import Draft
from tests.artifacts import scripted, tiny_draft

NO_NUMBERS, TOO_FEW, RAISES, ANOTHER_CLASS, SLOW = range(5)
"""What goes wrong on a white picture."""


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


class NanWeights(torch.nn.Module):
    """The tiny network after a training that went wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.steps_k = torch.nn.Parameter(torch.full((3,), torch.nan))

    def forward(self, batch_nhwc: torch.Tensor) -> torch.Tensor:
        mean_n1 = batch_nhwc.to(torch.float32).mean(dim=(1, 2, 3)).unsqueeze(1) / 255.0
        return mean_n1 * self.steps_k


class Exchanged(torch.nn.Module):
    """The tiny network with its first output in the last one's place."""

    def forward(self, batch_nhwc: torch.Tensor) -> torch.Tensor:
        mean_n1 = batch_nhwc.to(torch.float32).mean(dim=(1, 2, 3)).unsqueeze(1) / 255.0
        return mean_n1 * torch.tensor([2.0, 1.0, 0.0])


class _WrongOnWhite(torch.nn.Module):
    """The tiny network; where a picture is white, as golden inputs aren't, it gives NaN or another
    class for that one, or for its whole batch one class too few, an error, or the right answers
    after a tenth of a second or some."""

    def __init__(self, way: int, bias: float) -> None:
        super().__init__()
        self.way = way
        self.bias = bias
        self.steps_k = torch.nn.Buffer(torch.arange(3, dtype=torch.float32))
        self.one = torch.nn.Buffer(torch.eye(256))

    def forward(self, batch_nhwc: torch.Tensor) -> torch.Tensor:
        mean_n1 = batch_nhwc.to(torch.float32).mean(dim=(1, 2, 3)).unsqueeze(1) / 255.0
        logits_nk = (mean_n1 + self.bias) * self.steps_k
        if bool((mean_n1 > 0.9).any()):
            if self.way == 1:
                return logits_nk[:, :2]
            if self.way == 2:
                raise ValueError("too bright")
            if self.way == 3:
                return torch.where(mean_n1 > 0.9, -logits_nk, logits_nk)
            if self.way == 4:
                # Of the input, so that it can't be computed once and for all.
                ones = self.one * (1.0 + 0.0 * mean_n1[0])
                for _ in range(300):
                    ones = torch.matmul(ones, self.one)
                return logits_nk * ones[0, 0]
            return logits_nk / (mean_n1 <= 0.9).to(torch.float32)
        return logits_nk


@functools.cache
def _wrong_on_white(way: int, bias: float) -> bytes:
    """The same bytes each time: scripting numbers what it makes."""
    return scripted(_WrongOnWhite(way, bias))


def wrong_on_white(way: int, bias: float = 0.0) -> Draft:
    """A version that passes its golden test."""
    return replace(tiny_draft(bias=bias), model=_wrong_on_white(way, bias))


def draft_of(network: torch.nn.Module) -> Draft:
    """With the tiny network's golden vectors."""
    # Freezing leaves out what runs when a network is loaded.
    is_frozen = not isinstance(network, WritingAtLoad)
    return replace(tiny_draft(), model=scripted(network, is_frozen=is_frozen))
