"""What metrics and page say of a candidate while it is on trial."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from pipeline.clock import Clock
from pipeline.engine.trial import Comparison, Judge
from pipeline.metrics import TrialMetrics
from pipeline.types import ModelIdentity, TrialState

Kind: TypeAlias = Literal["shadow", "canary"]
End: TypeAlias = Literal["good", "bad", "none"]


_SHOW_EVERY_S = 0.25


class TrialReport:
    """Of one trial after the other. Owned by: the swap thread; ``on_trial`` is told a few times a
    second at most, and None when there is none any more."""

    def __init__(self, metrics: TrialMetrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self.on_trial: Callable[[TrialState | None], None] | None = None
        self._kind: Kind = "shadow"
        self._candidate = ModelIdentity("", 0, "", 0)
        self._since = 0.0
        self._next_mono_s = 0.0

    def begin(self, kind: Kind, candidate: ModelIdentity, judge: Judge) -> None:
        """A trial has begun."""
        self._kind, self._candidate, self._since = kind, candidate, self._clock.now()
        self._metrics.running.labels(kind).set(1)
        self._show(judge)

    def count(self, seen: Comparison) -> None:
        """These frames are compared, besides those before."""
        frames = (
            self._metrics.shadow_frames if self._kind == "shadow" else self._metrics.canary_frames
        )
        frames.labels("agree").inc(seen.agree)
        frames.labels("differ").inc(seen.differ)

    def show(self, judge: Judge) -> None:
        """What was found so far; where that was shown just now it is left for later."""
        if self._clock.monotonic() >= self._next_mono_s:
            self._show(judge)

    def _show(self, judge: Judge) -> None:
        self._next_mono_s = self._clock.monotonic() + _SHOW_EVERY_S
        found = judge.found
        self._metrics.found.labels("disagreement").set(found.disagreement)
        self._metrics.found.labels("confidence_drop").set(found.confidence_drop)
        self._metrics.found.labels("slow_batches").set(found.slow_batches)
        if self.on_trial is not None:
            self.on_trial(
                TrialState(
                    name=self._candidate.name,
                    version=self._candidate.version,
                    sha256=self._candidate.sha256,
                    rollout=self._kind,
                    since=self._since,
                    frames=found.frames,
                    findings=str(judge),
                )
            )

    def end(self, judge: Judge, verdict: End) -> None:
        """The trial is over."""
        self._show(judge)
        self._metrics.running.labels(self._kind).set(0)
        self._metrics.verdicts.labels(self._kind, verdict).inc()
        if self.on_trial is not None:
            self.on_trial(None)
