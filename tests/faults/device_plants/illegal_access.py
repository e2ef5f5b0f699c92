"""A device that is lost after ten batches, the golden one among them."""

from __future__ import annotations

import itertools

import torch

from pipeline.engine.torchscript import TorchScriptEngine
from tests.faults.planted import replace

_batches = itertools.count()
_real = TorchScriptEngine._to_device


def _to_device(self: TorchScriptEngine, batch_nhwc: torch.Tensor) -> torch.Tensor:
    if batch_nhwc.any() and next(_batches) >= 10:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
    return _real(self, batch_nhwc)


def plant() -> None:
    replace(TorchScriptEngine, "_to_device", _to_device)
