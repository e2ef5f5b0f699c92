"""What the forward pass is computed in, while training: float32, or half of its bits.

A network is judged and served in float32, whatever it was trained in.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

_DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """torch's automatic mixed precision: weights stay float32, convolutions and products do not.

    With fp16 the loss is scaled up, as small gradients would vanish, and a step whose scaled
    gradient overflows is left out (Micikevicius et al. 2017, arXiv:1710.03740). bf16 has float32's
    range and needs none of it. Owned by: the training thread.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self._dtype, self._device_type = _DTYPES[name], device.type
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._dtype is torch.float16)

    def autocast(self) -> torch.autocast:
        """Around the forward pass; changes nothing in float32."""
        is_on = self._dtype is not torch.float32
        return torch.autocast(self._device_type, self._dtype, enabled=is_on)

    def backward(self, loss: Tensor) -> None:
        """Adds the gradient of ``loss`` to the parameters', scaled up with fp16."""
        self._scaler.scale(loss).backward()

    def unscale(self, optimiser: Optimizer) -> None:
        """Makes the gradients those of the loss itself: before they are measured."""
        self._scaler.unscale_(optimiser)

    def step(self, optimiser: Optimizer) -> bool:
        """Steps; False if fp16's gradient overflowed and the step was left out."""
        scale = self._scaler.get_scale()
        self._scaler.step(optimiser)
        self._scaler.update()
        return self._scaler.get_scale() >= scale

    def state_dict(self) -> dict[str, Any]:
        """The scaler's, empty but for fp16."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from ``state_dict``."""
        self._scaler.load_state_dict(state)
