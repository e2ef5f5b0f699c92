"""What a candidate must stand before it scores all streams: the probe, the shadow, a canary."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from pipeline.artifact.artifact import Artifact
from pipeline.clock import Clock
from pipeline.engine.active import ActiveModel, ActiveSlot
from pipeline.engine.canary import Canary
from pipeline.engine.gentle import Rests
from pipeline.engine.shadow import Shadow
from pipeline.engine.stage import EngineStage
from pipeline.engine.trial import Comparison, TrialLimits
from pipeline.engine.trial_report import End, TrialReport
from pipeline.errors import ArtifactRefused, StopRequested
from pipeline.metrics import TrialMetrics
from pipeline.types import Backend

log = logging.getLogger(__name__)

_LOOK_S = 0.25


class Probing(Protocol):
    """Where a candidate runs before it is loaded here."""

    def check(
        self, artifact: Artifact, rests: Rests | None = None, backend: Backend = "torchscript"
    ) -> None:
        """Raises ``ArtifactRefused`` if what ``backend`` runs of it isn't fit. With ``rests`` it is
        tried beside frames."""
        ...

    def rest(self) -> None:
        """There is no candidate now."""
        ...


@dataclass(frozen=True, slots=True)
class CanaryLimits:
    """The share of the streams that a canary scores, and what it is held to meanwhile."""

    share: float
    trial: TrialLimits


@dataclass(frozen=True, slots=True)
class Trials:
    """What there is before a swap; None is left out. A canary has been in the shadow before."""

    probe: Probing | None = None
    shadow: TrialLimits | None = None
    canary: CanaryLimits | None = None


class Rollout:
    """Takes a candidate through its trials on live frames. Owned by: the swap thread.

    ``wait`` waits so many seconds, or until the worker ends.
    """

    def __init__(
        self,
        trials: Trials,
        stage: EngineStage,
        metrics: TrialMetrics,
        clock: Clock,
        wait: Callable[[float], object],
    ) -> None:
        self._trials = trials
        self._stage = stage
        self._clock = clock
        self.report = TrialReport(metrics, clock)
        self._canary: Canary | None = None
        self._shadow = Shadow(stage, self.report, clock, wait)

    def run(
        self, slot: ActiveSlot, candidate: ActiveModel, check_wanted: Callable[[], None]
    ) -> str:
        """Until there is a verdict: gives what was found. After a canary ``promote`` must follow.

        ``check_wanted`` is called twice a second at least, and ends a trial by raising
        ``StopRequested``.

        Raises:
            ArtifactRefused: ``shadow``, ``canary``: it isn't fit; ``too_slow``: it is that alone;
                ``no_room``: there is no memory for it beside the active model.
            RestartNeeded: the device is lost.
        """
        deadline_s = self._stage.max_age_s
        found: list[str] = []
        if (shadow := self._trials.shadow) is not None:
            limits = replace(shadow, deadline_s=deadline_s)
            found.append(self._shadow.run(candidate, limits, check_wanted))
        if (wanted := self._trials.canary) is not None:
            limits = replace(wanted.trial, deadline_s=deadline_s)
            sizes = self._stage.sizes
            canary = Canary(candidate, limits, wanted.share, sizes, self._clock)
            log.info(
                "%s scores %.0f%% of the streams, at least one, as a canary",
                *(candidate.identity.title, 100 * wanted.share),
            )
            found.append("as a canary " + self._as_canary(slot, canary, check_wanted))
            self._canary = canary
        return "; ".join(found)

    def promote(self, slot: ActiveSlot, candidate: ActiveModel) -> None:
        """Makes it the active model: from the next batch on it scores all streams.

        Raises:
            ArtifactRefused: ``canary``, ``too_slow``, ``no_room``: it failed after its verdict, on
                the very last batch.
        """
        canary, self._canary = self._canary, None  # it isn't kept longer than its model
        try:
            slot.exchange(candidate)
        except ValueError as cause:
            what = candidate.identity.title
            why = f"{what} isn't fit as a canary: it failed in the moment of its promotion"
            raise ArtifactRefused(canary.reason if canary else "canary", why) from cause

    def _as_canary(self, slot: ActiveSlot, canary: Canary, check_wanted: Callable[[], None]) -> str:
        """Has it score its streams until there is a verdict. Without frames there is none."""
        what, judge = canary.candidate.identity.title, canary.judge
        self.report.begin("canary", canary.candidate.identity, judge)
        slot.begin(canary)
        end: End = "none"
        try:
            self._watch(canary, check_wanted)
            end = "good" if canary.verdict == "good" else "bad"
            if end == "bad":
                raise ArtifactRefused(canary.reason, f"{what} isn't fit as a canary: {judge}")
        except StopRequested as why:
            log.info("%s ends as a canary without a verdict (%s): %s", what, why, judge)
            raise
        finally:
            if end != "good":
                slot.withdraw(canary)
            self.report.end(judge, end)
        log.info("%s has scored as a canary: %s", what, judge)
        return str(judge)

    def _watch(self, canary: Canary, check_wanted: Callable[[], None]) -> None:
        before = Comparison()
        while True:
            canary.decided.wait(_LOOK_S)
            now = canary.seen
            self.report.count(Comparison(now.agree - before.agree, now.differ - before.differ))
            before = now
            if canary.verdict != "goes on":
                return
            self.report.show(canary.judge)
            check_wanted()
