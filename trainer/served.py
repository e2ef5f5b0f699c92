"""A network as it is served: normalisation inside, from uint8 samples to logits.

Training runs through the same module that is exported, so there is no second place where pixels
are scaled.
"""

# No `from __future__ import annotations`: torch.jit.script reads a module's own annotations (the
# buffers' below) as objects and refuses strings.

from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from pipeline.errors import ConfigError

Rgb: TypeAlias = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Normalisation:
    """``(x - mean) / std`` on each of R, G and B, where x is the pixel scaled to 0..1.

    Raises:
        ConfigError: a ``std`` isn't positive.
    """

    mean: Rgb = (0.0, 0.0, 0.0)
    std: Rgb = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        if min(self.std) <= 0:
            raise ConfigError(f"--std is {self.std}, expected three numbers above 0")


TRAINING_NORMALISATION = Normalisation(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
"""Of `headrace train`: centres pixels on 0 with a spread near 1, whatever the pictures are."""


class ServedNetwork(nn.Module):
    """``[N, H, W, 3]`` uint8 RGB to ``[N, K]`` logits, around a network of normalised NCHW."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, normalisation: Normalisation) -> None:
        super().__init__()
        self.network = network
        for name, values in (("mean", normalisation.mean), ("std", normalisation.std)):
            self.register_buffer(name, torch.tensor(values).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, batch_nhwc: Tensor) -> Tensor:
        """Scales, normalises and runs the network."""
        images_nchw = batch_nhwc.permute(0, 3, 1, 2).to(torch.float32).div(255.0)
        # Contiguous, because networks that flatten with `view` refuse permuted strides.
        return self.network(((images_nchw - self.mean) / self.std).contiguous())
