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

    ``channels``: a network of one channel takes the first of a grey sample's three equal ones.

    Raises:
        ConfigError: a ``std`` isn't positive, or there are neither 1 nor 3 channels.
    """

    mean: Rgb = (0.0, 0.0, 0.0)
    std: Rgb = (1.0, 1.0, 1.0)
    channels: int = 3

    def __post_init__(self) -> None:
        if min(self.std) <= 0:
            raise ConfigError(f"--std is {self.std}, expected three numbers above 0")
        if self.channels not in (1, 3):
            raise ConfigError(f"--channels is {self.channels}, expected 1 or 3")


TRAINING_NORMALISATION = Normalisation(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
"""Of `headrace train`: centres pixels on 0 with a spread near 1, whatever the pictures are."""


class ServedNetwork(nn.Module):
    """``[N, H, W, 3]`` uint8 RGB to ``[N, K]`` logits, around a network of normalised NCHW."""

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, normalisation: Normalisation) -> None:
        super().__init__()
        self.network = network
        self.channels = normalisation.channels
        mean, std = (
            torch.tensor(values[: self.channels], dtype=torch.float64).reshape(1, -1, 1, 1)
            for values in (normalisation.mean, normalisation.std)
        )
        # (pixel / 255 - mean) / std as one operation: as three it takes the reference network a
        # tenth longer.
        self.register_buffer("scale", (1 / (255 * std)).float(), persistent=False)
        self.register_buffer("shift", (-mean / std).float(), persistent=False)

    def forward(self, batch_nhwc: Tensor) -> Tensor:
        """Scales, normalises and runs the network."""
        if self.channels == 1:
            batch_nhwc = batch_nhwc[:, :, :, :1]
        # Contiguous, because networks that flatten with `view` refuse permuted strides.
        pixels_nchw = batch_nhwc.permute(0, 3, 1, 2).to(
            torch.float32, memory_format=torch.contiguous_format
        )
        return self.network(torch.addcmul(self.shift, pixels_nchw, self.scale))


class CalibratedNetwork(nn.Module):
    """A served network whose logits are divided by a temperature above 0 (``trainer.calibration``).

    A module around it, so that a network without a temperature has the very graph that it had.
    """

    def __init__(self, served: ServedNetwork, temperature: float) -> None:
        super().__init__()
        self.served = served
        self.temperature = temperature

    def forward(self, batch_nhwc: Tensor) -> Tensor:
        """``[N, H, W, 3]`` uint8 RGB to ``[N, K]`` logits."""
        return self.served(batch_nhwc) / self.temperature
