"""Where a worker's models come from: the first one, and those that take its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from pipeline.artifact.followed import Followed
from pipeline.clock import Clock
from pipeline.config import ModelSettings, Settings
from pipeline.drift import DriftState
from pipeline.engine.active import ActiveSlot
from pipeline.engine.choice import candidates, choose, probed
from pipeline.engine.drift_watch import DriftWatch
from pipeline.engine.loading import Loader
from pipeline.engine.rollout import CanaryLimits, Trials
from pipeline.engine.stage import EngineStage
from pipeline.engine.swap import ModelWatcher
from pipeline.engine.trial import TrialLimits
from pipeline.metrics import Metrics
from pipeline.probe.client import Probe
from pipeline.types import SwapEvent, TrialState

_FALSE_ALARM = 0.01
"""Of all that a good version must stand."""


class Audience(Protocol):
    """Who is told of what becomes of versions, on the swap thread, and of drift."""

    def note_swap(self, event: SwapEvent) -> None:
        """A version was taken, refused or rolled back."""
        ...

    def note_trial(self, state: TrialState | None) -> None:
        """How a version that is on trial does; None when none is."""
        ...

    def note_drift(self, state: DriftState) -> None:
        """How far live frames are from the active version's reference. On the engine thread."""
        ...


class ModelSupply:
    """Reads, tries and loads versions of the model that the settings name.

    Owned by: the thread that starts the worker until ``run``, the swap thread from then on;
    ``swaps`` and ``stop`` are for any thread.
    """

    def __init__(self, settings: Settings, clock: Clock, is_stopping: Callable[[], bool]) -> None:
        """Sets torch's threads for the process; reads nothing yet.

        Raises:
            ConfigError: the device or backend isn't there, or a name, key or folder can't be one.
        """
        self._settings = settings
        self._followed = Followed.of(settings.model)
        self._followed.prepare()
        self._clock = clock
        self._loader = Loader.of(settings, clock, is_stopping)
        self._probe = Probe(clock, settings.model.probe_timeout_s, is_stopping)
        self._watcher: ModelWatcher | None = None
        self.device = self._loader.device

    def first(self) -> ActiveSlot:
        """The version to begin with, ready to score.

        Raises:
            HeadraceError: see ``Followed.first``, ``Probe.check`` and ``Loader.load``.
        """
        artifact = self._followed.first()
        among = candidates(self._loader, artifact.manifest)
        if self._settings.model.probe == "always":
            among = probed(among, lambda each: self._probe.check(artifact, backend=each))
            if not self._followed.is_alias:
                self._probe.close()
        self._loader = choose(self._loader, self._settings, artifact, among)
        slot = ActiveSlot(self._loader.load(artifact, epoch=1))
        self._followed.took(artifact.manifest.version)
        return slot

    def follow(
        self,
        slot: ActiveSlot,
        stage: EngineStage,
        metrics: Metrics,
        audience: Audience,
    ) -> bool:
        """Makes ready for ``run``; whether there is anything to follow."""
        said = self._settings.model
        trials = Trials(None if said.probe == "never" else self._probe, *_trials_of(said))
        self._watcher = ModelWatcher(self._followed, slot, self._loader, stage, metrics, trials)
        self._watcher.refusals.on_event = audience.note_swap
        self._watcher.rollout.report.on_trial = audience.note_trial
        if said.drift_every_s > 0:
            stage.drift = DriftWatch(metrics, self._clock, said.drift_every_s, said.drift_frames)
            stage.drift.on_state = audience.note_drift
        return self._followed.is_alias

    def run(self) -> None:
        """Swaps whenever the alias moves, until stopped.

        Raises:
            RestartNeeded: the device is lost.
        """
        if self._watcher is not None:
            self._watcher.run(self._settings.model.watch_interval_s)

    @property
    def swaps(self) -> int:
        """How many there were."""
        return 0 if self._watcher is None else self._watcher.swaps

    def stop(self) -> None:
        """Ends ``run`` after what is under way."""
        if self._watcher is not None:
            self._watcher.stop()

    def close(self) -> None:
        """Ends the probe; ``run`` has ended, or never began."""
        self._probe.close()


def _trials_of(said: ModelSettings) -> tuple[TrialLimits | None, CanaryLimits | None]:
    """What these settings ask of a version before it takes over."""
    if said.rollout == "swap":
        return None, None
    shadow = TrialLimits(
        said.shadow_frames,
        said.max_disagreement,
        said.shadow_share,
        _FALSE_ALARM,
        said.max_confidence_drop,
        said.max_slowdown,
    )
    if said.rollout == "shadow":
        return shadow, None
    # Two trials, one of which would do to refuse it.
    shadow = replace(shadow, false_alarm=_FALSE_ALARM / 2)
    canary = replace(shadow, frames=said.canary_frames, sure_frames=said.canary_frames)
    return shadow, CanaryLimits(said.canary_share, canary)
