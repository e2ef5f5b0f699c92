"""A device that takes its time, so that the window is full of frames whatever this machine does."""

from __future__ import annotations

import os
import time

from pipeline.engine.torchscript import TorchScriptEngine
from pipeline.types import BatchNhwc, LogitsNk
from tests.faults.device_plants.not_a_number import is_ours
from tests.faults.planted import replace

BATCH_S = 0.025

_real = TorchScriptEngine.score


def _score(self: TorchScriptEngine, batch_nhwc: BatchNhwc) -> LogitsNk:
    if is_ours(batch_nhwc[0]):
        time.sleep(BATCH_S)
    return _real(self, batch_nhwc)


def plant() -> None:
    # Batches are warmed with other pictures than ours, and so quick that they may hold more.
    os.environ["HEADRACE_BATCH__MAX_SIZE"] = "32"
    replace(TorchScriptEngine, "score", _score)
