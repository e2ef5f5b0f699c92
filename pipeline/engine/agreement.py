"""Do a candidate and the active model say the same of a frame? By task. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.types import LogitsNk, Task

TOLERANCE = 0.1
"""Of a regression's values: relative to the active model's, or absolute where that is below 1. A
tenth is more than retraining on the same data moves a value, and less than anybody takes for it."""

DISAGREES: Mapping[Task, str] = {
    "single-label": "named another class than",
    "multi-label": "named other labels than",
    "regression": f"was more than {TOLERANCE:.0%} off",
}
"""What a candidate did that doesn't agree with "the active model"."""


def agree(task: Task, ours_nk: LogitsNk, theirs_nk: LogitsNk) -> NDArray[np.bool_]:
    """Whether each row's outputs mean the same, ``[N]`` bool.

    The same class; the same labels with a confidence above a half (a logit above 0); every value
    within ``TOLERANCE`` of ours. Rows that hold no numbers are for the caller to leave out.
    """
    if task == "single-label":
        return theirs_nk.argmax(axis=1) == ours_nk.argmax(axis=1)
    if task == "multi-label":
        is_same_nk = (theirs_nk > 0) == (ours_nk > 0)
    else:
        with np.errstate(invalid="ignore", over="ignore"):
            off_nk = np.abs(theirs_nk - ours_nk)
        is_same_nk = off_nk <= TOLERANCE * np.maximum(1, np.abs(ours_nk))
    return np.logical_and.reduce(is_same_nk, axis=1)
