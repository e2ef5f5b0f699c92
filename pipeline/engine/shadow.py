"""What a candidate must stand before it scores: the probe, and a while in the shadow."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pipeline.artifact.artifact import Artifact
from pipeline.clock import Clock
from pipeline.engine.active import ActiveModel
from pipeline.engine.stage import EngineStage
from pipeline.engine.trial import Trial, TrialLimits
from pipeline.errors import ArtifactRefused, StopRequested
from pipeline.metrics import Metrics

log = logging.getLogger(__name__)

_LOOK_S = 0.5


class Probing(Protocol):
    """Where a candidate runs before it is loaded here."""

    def check(self, artifact: Artifact) -> None:
        """Raises ``ArtifactRefused`` if it isn't fit."""
        ...

    def rest(self) -> None:
        """There is no candidate now."""
        ...


@dataclass(frozen=True, slots=True)
class Trials:
    """What there is before a swap; None is left out."""

    probe: Probing | None = None
    shadow: TrialLimits | None = None


class Shadow:
    """Has candidates run beside the active model. Owned by: the swap thread.

    ``wait`` waits so many seconds, or until the worker ends.
    """

    def __init__(
        self, stage: EngineStage, metrics: Metrics, clock: Clock, wait: Callable[[float], object]
    ) -> None:
        self._stage = stage
        self._frames = metrics.shadow_frames
        self._clock = clock
        self._wait = wait

    def run(
        self, candidate: ActiveModel, limits: TrialLimits, check_wanted: Callable[[], None]
    ) -> str:
        """Until there is a verdict: gives what was found. Without frames there is none.

        ``check_wanted`` is called twice a second at least, and ends the trial by raising
        ``StopRequested``.

        Raises:
            ArtifactRefused: ``shadow``: it disagrees too often, or its outputs are bad;
                ``no_room``: there is no memory for it beside the active model.
            RestartNeeded: the device is lost.
        """
        what = f"{candidate.identity.name}@{candidate.identity.version}"
        log.info("%s runs in the shadow", what)
        trial = self._stage.trial = Trial(candidate, limits, self._clock)
        try:
            while trial.verdict == "goes on":
                self._step(trial, limits.share, check_wanted)
        except StopRequested as why:
            log.info("%s leaves the shadow without a verdict: %s", what, why)
            raise
        finally:
            self._stage.trial = None
        if trial.verdict == "bad":
            raise ArtifactRefused("shadow", f"{what} isn't fit in the shadow: {trial}")
        log.info("%s has run in the shadow: %s", what, trial)
        return str(trial)

    def _step(self, trial: Trial, share: float, check_wanted: Callable[[], None]) -> None:
        """One batch, and then a rest, so that it takes no more than its share."""
        found = trial.step(_LOOK_S)
        self._frames.labels("agree").inc(found.agree)
        self._frames.labels("differ").inc(found.differ)
        check_wanted()
        until = self._clock.monotonic() + found.taken_s * (1 / share - 1)
        while (left_s := until - self._clock.monotonic()) > 0:
            self._wait(min(left_s, _LOOK_S))
            check_wanted()
