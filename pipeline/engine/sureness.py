"""How sure a network is of what it says. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.scoring import sigmoid_nk, softmax_nk
from pipeline.types import LogitsNk, Task


def sureness_n(task: Task, logits_nk: LogitsNk) -> NDArray[np.float32]:
    """For each of N rows of finite logits, 0 to 1: the best class's confidence, or the mean of the
    surer answers to K questions. Values claim nothing of the kind: 1 for all."""
    match task:
        case "single-label":
            return softmax_nk(logits_nk).max(axis=1)
        case "multi-label":
            return sigmoid_nk(np.abs(logits_nk)).mean(axis=1)
        case "regression":
            return np.ones(len(logits_nk), np.float32)
