"""An engine that keeps ten megabytes of each batch of frames: memory runs out."""

from __future__ import annotations

from pipeline.engine.torchscript import TorchScriptEngine
from pipeline.types import BatchNhwc, LogitsNk
from tests.faults.device_plants.not_a_number import is_ours
from tests.faults.planted import replace

_KEPT_BYTES = 10 << 20

_real = TorchScriptEngine.score
_kept: list[bytes] = []


def _score(self: TorchScriptEngine, batch_nhwc: BatchNhwc) -> LogitsNk:
    if is_ours(batch_nhwc[0]):
        _kept.append(b"\1" * _KEPT_BYTES)  # zeros would take no memory
    return _real(self, batch_nhwc)


def plant() -> None:
    replace(TorchScriptEngine, "score", _score)
