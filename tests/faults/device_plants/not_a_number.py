"""A network that gives NaN for every tenth frame of the oracle."""

from __future__ import annotations

import numpy as np

from pipeline.engine.torchscript import TorchScriptEngine
from pipeline.types import BatchNhwc, LogitsNk
from tests.faults.oracle.identity import read_picture
from tests.faults.planted import replace

_real = TorchScriptEngine.score


def _score(self: TorchScriptEngine, batch_nhwc: BatchNhwc) -> LogitsNk:
    logits_nk = _real(self, batch_nhwc).copy()
    for row, image_hwc in enumerate(batch_nhwc):
        if is_ours(image_hwc) and read_picture(image_hwc).number % 10 == 0:
            logits_nk[row] = np.nan
    return logits_nk


def is_ours(image_hwc: np.ndarray) -> bool:
    """Whether it has dark and bright blocks: golden inputs are noise, warming is all zeros."""
    means = image_hwc.reshape(6, 4, 6, 4, 3).mean(axis=(1, 3, 4))
    return bool((abs(means - 127.5) > 60).all() and image_hwc.any())


def plant() -> None:
    replace(TorchScriptEngine, "score", _score)
