"""A while in the shadow, seen from the swap thread."""

from __future__ import annotations

import logging
from collections.abc import Callable

from pipeline.clock import Clock
from pipeline.engine.active import ActiveModel
from pipeline.engine.stage import EngineStage
from pipeline.engine.trial import Trial, TrialLimits
from pipeline.engine.trial_report import End, TrialReport
from pipeline.errors import ArtifactRefused, StopRequested

log = logging.getLogger(__name__)

_LOOK_S = 0.5


class Shadow:
    """Has candidates run beside the active model. Owned by: the swap thread.

    ``wait`` waits so many seconds, or until the worker ends.
    """

    def __init__(
        self,
        stage: EngineStage,
        report: TrialReport,
        clock: Clock,
        wait: Callable[[float], object],
    ) -> None:
        self._stage = stage
        self._report = report
        self._clock = clock
        self._wait = wait

    def run(
        self, candidate: ActiveModel, limits: TrialLimits, check_wanted: Callable[[], None]
    ) -> str:
        """Until there is a verdict: gives what was found. Without frames there is none.

        ``check_wanted`` is called twice a second at least, and ends the trial by raising
        ``StopRequested``.

        Raises:
            ArtifactRefused: ``shadow``: it disagrees too often or is too unsure, or its outputs
                are bad; ``too_slow``: it is that alone; ``no_room``: there is no memory for it
                beside the active model.
            RestartNeeded: the device is lost.
        """
        what = candidate.identity.title
        log.info("%s runs in the shadow", what)
        trial = self._stage.trial = Trial(candidate, limits, self._clock)
        self._report.begin("shadow", candidate.identity, trial.judge)
        end: End = "none"
        try:
            while trial.verdict == "goes on":
                self._step(trial, limits.share, check_wanted)
            end = "good" if trial.verdict == "good" else "bad"
        except StopRequested as why:
            log.info("%s leaves the shadow without a verdict (%s): %s", what, why, trial)
            raise
        finally:
            self._stage.trial = None
            self._report.end(trial.judge, end)
        if end == "bad":
            reason = "too_slow" if trial.judge.is_only_slow else "shadow"
            raise ArtifactRefused(reason, f"{what} isn't fit in the shadow: {trial}")
        log.info("%s has run in the shadow: %s", what, trial)
        return str(trial)

    def _step(self, trial: Trial, share: float, check_wanted: Callable[[], None]) -> None:
        """One batch, and then a rest, so that it takes no more than its share."""
        seen = trial.step(_LOOK_S)
        self._report.count(seen)
        self._report.show(trial.judge)
        check_wanted()
        until = self._clock.monotonic() + seen.taken_s * (1 / share - 1)
        while (left_s := until - self._clock.monotonic()) > 0:
            self._wait(min(left_s, _LOOK_S))
            check_wanted()
