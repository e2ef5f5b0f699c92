"""Native code that holds the interpreter and never returns, at the fifth batch."""

from __future__ import annotations

import ctypes
import itertools

from pipeline.engine.torchscript import TorchScriptEngine
from pipeline.types import BatchNhwc, LogitsNk
from tests.faults.device_plants.not_a_number import is_ours
from tests.faults.planted import replace

_real = TorchScriptEngine.score
_batches = itertools.count()


def _score(self: TorchScriptEngine, batch_nhwc: BatchNhwc) -> LogitsNk:
    if is_ours(batch_nhwc[0]) and next(_batches) == 5:
        ctypes.PyDLL(None).pause()  # PyDLL: unlike CDLL it doesn't let go of the interpreter
    return _real(self, batch_nhwc)


def plant() -> None:
    replace(TorchScriptEngine, "score", _score)
