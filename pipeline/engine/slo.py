"""How large batches may be, and how long they may wait, for frames to be scored in time. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.batch import BatchLimits

_SHARE = 0.95
_LEAST_FRAMES = 64
_LEAST_S = 0.25
"""A window: fewer frames have no 95th percentile, and more windows than four a second would follow
every stop of the machine."""

_SHRINK = 0.75
_STEPS = 16
"""The budget grows by a 16th of the goal, and is never smaller than that: on the way back nothing
is to be made up for that no batch could be any smaller for."""


class SloControl:
    """Keeps the 95th percentile of a frame's time from decoded to scored within ``slo_s``.

    It changes one number, the budget for this time: additive increase while windows keep the goal,
    multiplicative decrease where one doesn't (as Clipper does with sizes, Crankshaw et al., 2017).
    A frame may have to wait for the batch that is computed while its own one fills, so a bucket
    that takes more than half of the budget is too large.

    Owned by: the engine thread.
    """

    def __init__(self, slo_s: float) -> None:
        self._slo_s = slo_s
        self._budget_s = slo_s
        self._times_s: list[float] = []
        self._since_mono_s: float | None = None

    def note(self, times_s: Sequence[float], now_mono_s: float) -> bool:
        """A batch's frames took so long from decoded to scored; whether the budget is another."""
        if self._since_mono_s is None:
            self._since_mono_s = now_mono_s
        self._times_s += times_s
        passed_s = now_mono_s - self._since_mono_s
        if len(self._times_s) < _LEAST_FRAMES or passed_s < _LEAST_S:
            return False
        before_s, step_s = self._budget_s, self._slo_s / _STEPS
        if np.quantile(self._times_s, _SHARE) > self._slo_s:
            self._budget_s = max(step_s, before_s * _SHRINK)
        else:
            self._budget_s = min(self._slo_s, before_s + step_s)
        self._times_s, self._since_mono_s = [], now_mono_s
        return self._budget_s != before_s

    def limits(self, infer_s: Mapping[int, float]) -> BatchLimits:
        """From the seconds that each bucket took when it was warmed."""
        fitting = [size for size, taken_s in infer_s.items() if 2 * taken_s <= self._budget_s]
        most_frames = max(fitting, default=min(infer_s))
        return BatchLimits(most_frames, max(0.0, self._budget_s - infer_s[most_frames]))
