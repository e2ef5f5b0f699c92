"""A C function that holds Python's lock for a minute at the tenth batch: nothing else runs."""

from __future__ import annotations

import ctypes
import itertools

from pipeline.engine.torchscript import TorchScriptEngine
from pipeline.types import BatchNhwc, LogitsNk
from tests.faults.device_plants.not_a_number import is_ours
from tests.faults.planted import replace

HELD_S = 60

_batches = itertools.count()
_real = TorchScriptEngine.score


def _score(self: TorchScriptEngine, batch_nhwc: BatchNhwc) -> LogitsNk:
    if is_ours(batch_nhwc[0]) and next(_batches) == 10:
        ctypes.PyDLL(None).sleep(HELD_S)  # unlike CDLL, it keeps the lock
    return _real(self, batch_nhwc)


def plant() -> None:
    replace(TorchScriptEngine, "score", _score)
