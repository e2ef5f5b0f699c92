"""How large batches may be, and how long they may wait, for frames to be scored in time. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.batch import BatchLimits

_SHARE = 0.95
_LEAST_FRAMES = 64
_LEAST_S = 0.25
_MOST_S = 5.0
"""A window: fewer frames have no 95th percentile, and more windows than four a second would follow
every stop of the machine; a stream of a frame a second has its own too."""

_SHRINK = 0.75
_STEPS = 16
"""The budget grows by a 16th of the goal, and is never smaller than that: on the way back nothing
is to be made up for that no batch could be any smaller for."""

_BEHIND = 0.25
_FADE = 0.99
"""What the worker was once behind with, it has half of after seventy windows: so seldom is it tried
whether the goal can be kept by now."""

_RECENT = 0.1


class SloControl:
    """Keeps the 95th percentile of a frame's time from decoded to scored within ``slo_s``.

    It changes one number, the budget for this time: additive increase while windows keep the goal,
    multiplicative decrease where one doesn't (as Clipper does with sizes, Crankshaw et al., 2017).
    A frame may have to wait for the batch that is computed while its own one fills, so a bucket
    that takes more than half of the budget is too large.

    Where half of the frames waited a quarter of the goal before they were even decoded, the worker
    can't keep up in batches of this size. Smaller ones would make that worse, and it would never
    end: then the budget grows, beyond the goal too, and stays there for a while.

    Owned by: the engine thread.
    """

    def __init__(self, slo_s: float) -> None:
        self._slo_s = slo_s
        self._budget_s = slo_s
        self._least_s = 0.0
        self._infer_s: Mapping[int, float] = {}
        self._begin()

    def use(self, infer_s: Mapping[int, float]) -> None:
        """Another model's batches come from now on, with the seconds that each bucket took when it
        was warmed; at least one."""
        self._infer_s = infer_s
        self._begin()

    def note(
        self,
        bucket: int,
        taken_s: float,
        queued_s: Sequence[float],
        times_s: Sequence[float],
        now_mono_s: float,
    ) -> bool:
        """A batch was computed. Whether limits may be others now.

        Args:
            bucket: In which it was run.
            taken_s: By the engine.
            queued_s: What its frames waited before a thread decoded them.
            times_s: Theirs from decoded to scored.
            now_mono_s: When they were scored.
        """
        if self._since_mono_s is None:
            self._since_mono_s = now_mono_s
        if bucket in self._infer_s:  # one without memory for it runs two smaller ones
            self._slowness += _RECENT * (taken_s / self._infer_s[bucket] - self._slowness)
        self._queued_s += queued_s
        self._times_s += times_s
        passed_s = now_mono_s - self._since_mono_s
        is_enough = len(self._times_s) >= _LEAST_FRAMES and passed_s >= _LEAST_S
        if not self._times_s or not (is_enough or passed_s >= _MOST_S):
            return False
        self._budget_s = self._next_budget_s()
        self._queued_s, self._times_s, self._since_mono_s = [], [], None
        return True

    def limits(self, most_frames: int) -> BatchLimits:
        """What the budget allows, of buckets of up to ``most_frames`` (the smallest may be larger):
        by what they took when they were warmed, and how much longer batches take now."""
        infer_s = {
            size: taken_s * self._slowness
            for size, taken_s in self._infer_s.items()
            if size <= most_frames or size == min(self._infer_s)
        }
        fitting = [size for size, taken_s in infer_s.items() if 2 * taken_s <= self._budget_s]
        size = max(fitting, default=min(infer_s))
        return BatchLimits(size, max(0.0, min(self._budget_s, self._slo_s) - infer_s[size]))

    def _next_budget_s(self) -> float:
        step_s = self._slo_s / _STEPS
        if np.median(self._queued_s) > _BEHIND * self._slo_s:
            largest_s = 2 * max(self._infer_s.values()) * self._slowness
            wanted_s = max(self._budget_s / _SHRINK, self._budget_s + step_s)
            self._least_s = min(max(largest_s, self._slo_s), wanted_s)
            return self._least_s
        self._least_s = max(step_s, self._least_s * _FADE)
        if np.quantile(self._times_s, _SHARE) > self._slo_s:
            return max(self._least_s, self._budget_s * _SHRINK)
        return max(self._least_s, min(self._slo_s, self._budget_s + step_s))

    def _begin(self) -> None:
        self._slowness = 1.0
        self._queued_s: list[float] = []
        self._times_s: list[float] = []
        self._since_mono_s: float | None = None
