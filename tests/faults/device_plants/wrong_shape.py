"""A network that forgets its last class on frames of ours, and not on its golden inputs."""

from __future__ import annotations

from pipeline.engine.torchscript import TorchScriptEngine
from pipeline.types import BatchNhwc, LogitsNk
from tests.faults.device_plants.not_a_number import is_ours
from tests.faults.planted import replace

_real = TorchScriptEngine.score


def _score(self: TorchScriptEngine, batch_nhwc: BatchNhwc) -> LogitsNk:
    logits_nk = _real(self, batch_nhwc)
    return logits_nk[:, :-1] if is_ours(batch_nhwc[0]) else logits_nk


def plant() -> None:
    replace(TorchScriptEngine, "score", _score)
