"""A device that has room for two frames, no more."""

from __future__ import annotations

from pipeline.engine.base import EngineOutOfMemory
from pipeline.engine.torchscript import TorchScriptEngine
from pipeline.types import BatchNhwc, LogitsNk
from tests.faults.device_plants.not_a_number import is_ours
from tests.faults.planted import replace

_real = TorchScriptEngine.score


def _score(self: TorchScriptEngine, batch_nhwc: BatchNhwc) -> LogitsNk:
    if len(batch_nhwc) > 2 and any(map(is_ours, batch_nhwc)):
        raise EngineOutOfMemory(f"no room for a batch of {len(batch_nhwc)}")
    return _real(self, batch_nhwc)


def plant() -> None:
    replace(TorchScriptEngine, "score", _score)
