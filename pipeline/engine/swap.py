"""The swap: a watcher sees the alias move, makes the version ready and exchanges the models."""

from __future__ import annotations

import contextlib
import logging
import threading
from functools import partial
from typing import NamedTuple

from pipeline.artifact.artifact import Artifact
from pipeline.artifact.followed import Followed
from pipeline.artifact.names import COPY_NOTE
from pipeline.artifact.verify import check_compatible
from pipeline.clock import Clock
from pipeline.cores import usable_share
from pipeline.engine.active import ActiveModel, ActiveSlot
from pipeline.engine.backends import check_has_file
from pipeline.engine.gentle import Busy, Rests, rest_times
from pipeline.engine.loading import Loader
from pipeline.engine.pause import PauseWatch
from pipeline.engine.refusals import AGAIN_S, Refusals
from pipeline.engine.rollout import Rollout, Trials
from pipeline.engine.stage import EngineStage
from pipeline.errors import ArtifactRefused, HeadraceError, RestartNeeded, StopRequested
from pipeline.metrics import Metrics
from pipeline.types import ModelIdentity

log = logging.getLogger(__name__)

_FIRST_BATCH_WITHIN_S = 2.0
"""How long to wait for the new model's first batch before its pause is written down as it is."""


class _Before(NamedTuple):
    """A model that scored well; of it nothing is kept in memory."""

    identity: ModelIdentity
    content: str


class ModelWatcher:
    """Follows an alias. All its work is off the hot path: the engine thread only ever reads the
    slot. A version that was refused is not read again until the alias has moved. At most two models
    are in memory: none is loaded while a batch still runs on the one before the active. A model
    whose outputs are bad once it scores is rolled back: the one before it is loaded again.

    Owned by: the swap thread; ``events`` and ``swaps`` may be read from any thread.
    """

    def __init__(
        self,
        followed: Followed,
        slot: ActiveSlot,
        loader: Loader,
        stage: EngineStage,
        metrics: Metrics,
        trials: Trials,
    ) -> None:
        self._followed = followed
        self._registry = followed.registry
        self._slot = slot
        self._loader = loader
        self._trials = trials
        self.refusals = Refusals(followed, metrics, loader.clock, loader.digest_of)
        self._turns = stage.turns
        self._health = stage.health
        self._metrics = metrics
        self._clock: Clock = loader.clock
        self._before: _Before | None = None
        self._back_again_mono_s = 0.0
        self._interval_s = self._looked_mono_s = 0.0
        self._stopping = threading.Event()
        self._busy = Busy(usable_share(), self._clock.monotonic)
        self.rollout = Rollout(trials, stage, metrics.trials, loader.clock, self._stopping.wait)
        self._wake = threading.Event()
        self._health.on_broken = self._wake.set
        self.swaps = 0
        metrics.show_model(None, slot.model.identity)

    def run(self, interval_s: float) -> None:
        """Looks every ``interval_s`` seconds, and where outputs are bad, until stopped."""
        self._interval_s = interval_s
        while not self._stopping.is_set():
            self._wake.wait(interval_s)
            self._wake.clear()
            if not self._stopping.is_set():
                self.look()

    def stop(self) -> None:
        """Ends ``run`` after the look that is under way. May be called from any thread."""
        self._stopping.set()
        self._wake.set()

    def look(self) -> None:
        """Looks once: rolls back where that must be, else swaps if the alias names another version
        that is fit to score.

        Raises:
            RestartNeeded: the device is lost, to the active model too.
        """
        active = self._slot.model
        version = 0
        try:
            if self._rolls_back(active):
                return
            version = self._followed.version()
            self._busy.share()  # so that it knows the seconds before this one
            if self._trials.probe is not None:
                self._trials.probe.rest()
            if version == active.identity.version:
                self.refusals.forget()
            elif self.refusals.may_try(version) and not self._slot.is_one_leaving:
                self._try(active, version)
                self.refusals.forget()
        except StopRequested:
            return
        except RestartNeeded:
            raise
        except HeadraceError as error:
            self.refusals.refuse(active.identity, version, error)
        except Exception as error:
            # The swap attempt: whatever a candidate does to torch, the active model goes on.
            log.exception("a swap to version %s failed", version)
            refused = ArtifactRefused("error", repr(error))
            self.refusals.refuse(active.identity, version, refused)

    def _try(self, active: ActiveModel, version: int) -> None:
        name = active.identity.name
        manifest = self._registry.manifest(name, version)
        self.refusals.check(manifest)
        check_compatible(manifest.contract, active.contract)
        check_has_file(self._loader.backend_for(manifest), manifest)
        artifact = self._followed.read(version)
        check_compatible(artifact.manifest.contract, active.contract)  # it was read anew
        if self._trials.probe is not None:
            rests = self._rests(active, version)
            self._trials.probe.check(artifact, rests, self._loader.backend_for(artifact.manifest))
        self._take(active, artifact)
        self._followed.took(version)

    def _rolls_back(self, active: ActiveModel) -> bool:
        """Goes back to the model before where the active one's outputs ask for it; whether it did.

        Where that fails the alias is followed all the same, and it is tried again in a minute.
        """
        complaint, before = self._health.complaint(active.first_epoch), self._before
        is_due = self._clock.monotonic() >= self._back_again_mono_s
        if not complaint or before is None or not is_due or self._slot.is_one_leaving:
            return False
        self._back_again_mono_s = self._clock.monotonic() + AGAIN_S
        bad, good = active.identity, before.identity
        try:
            artifact = self._registry.read(good.name, good.version)
            if artifact.manifest.content != before.content:
                raise ArtifactRefused(
                    "missing", f"{good.name}@{good.version} isn't the one that scored before"
                )
            log.warning("%s@%d is rolled back: %s", bad.name, bad.version, complaint)
            self._take(active, artifact, is_way_back=True)
        except ArtifactRefused as error:
            log.error("%s@%d can't be rolled back: %s", bad.name, bad.version, error)
            refused = ModelIdentity(good.name, good.version, good.sha256, bad.epoch)
            self.refusals.tell(refused, error.reason, f"to go back to it failed: {error}")
            return False
        self._back_again_mono_s = 0.0
        self.refusals.roll_back(bad, active.content, complaint)
        return True

    def _take(self, active: ActiveModel, artifact: Artifact, *, is_way_back: bool = False) -> None:
        """Makes a version ready and, once it has stood its trial, the active one."""
        watch = self._turns.watch(self._clock.monotonic())
        candidate = self._ready(active, artifact, is_way_back)
        found, pause_s = "", 0.0
        if self._trials.shadow is not None and not self._is_way_out(active, artifact, is_way_back):
            pause_s = watch.pause_s
            check_wanted = partial(self._check_wanted, active, candidate.identity.version)
            found = self.rollout.run(self._slot, candidate, check_wanted)
            watch = self._turns.watch(self._clock.monotonic())  # the trial was no pause
        self.rollout.promote(self._slot, candidate)
        self._before = self._way_back(active, candidate)
        new = candidate.identity
        self._metrics.show_model(active.identity, new)
        pause_s = max(pause_s, self._await_pause(new.epoch, watch))
        self.swaps += 1
        self._metrics.model_swap_pause.observe(pause_s)
        log.info("swapped to %s@%d in %.1f ms of pause", new.name, new.version, pause_s * 1000)
        self.refusals.tell(new, "swapped", found, pause_s)

    def _ready(self, active: ActiveModel, artifact: Artifact, is_way_back: bool) -> ActiveModel:
        """Loads and warms a version, so that frames hardly feel it where that isn't urgent."""
        version = artifact.manifest.version
        device = self._loader.device
        rests = None if is_way_back else self._rests(active, version, device)
        try:
            return self._loader.load(artifact, active.identity.epoch + 1, rests)
        except RestartNeeded:
            log.error("the device failed while %s@%d was made ready", active.identity.name, version)
            raise

    def _rests(self, active: ActiveModel, version: int, device: str = "cpu") -> Rests | None:
        """For work on a version beside frames, which it is to leave the device to; None where the
        active one's frames are lost until it is done."""
        if self._health.complaint(active.first_epoch):
            return None

        def times() -> float:
            if self._health.complaint(active.first_epoch):
                return 0.0  # nothing was there to go back to: the sooner this one the better
            # How busy a GPU is nobody tells.
            return rest_times(self._busy.share() if device == "cpu" else 1.0)

        check_wanted = partial(self._check_wanted, active, version, is_trial=False)
        return Rests(self._stopping.wait, check_wanted, times)

    def _is_way_out(self, active: ActiveModel, artifact: Artifact, is_way_back: bool) -> bool:
        """Whether this is the way away from the active model, which then is no measure of it: our
        own, somebody's back to an older version or its copy, or from one whose outputs are bad."""
        manifest = artifact.manifest
        is_older = manifest.version < active.identity.version or COPY_NOTE in manifest.notes
        return is_way_back or is_older or bool(self._health.complaint(active.first_epoch))

    def _check_wanted(self, active: ActiveModel, version: int, *, is_trial: bool = True) -> None:
        """Ends a trial that is of no use any more, or a load: that goes on where the alias has
        moved on meanwhile, else it would never end where versions come faster than it takes, and
        where it is the only way out.

        Raises:
            StopRequested: the worker is ending, the alias has moved, or the active model must be
                rolled back.
        """
        if self._stopping.is_set():
            raise StopRequested("the worker is ending")
        may_go = is_trial or self._before is not None
        if may_go and self._health.complaint(active.first_epoch):
            raise StopRequested("the active model's outputs are bad")
        if self._trials.probe is not None:
            self._trials.probe.rest()
        if self._clock.monotonic() - self._looked_mono_s < self._interval_s:
            return
        self._looked_mono_s = self._clock.monotonic()
        with contextlib.suppress(ArtifactRefused):
            wanted = self._followed.version()
            if wanted < version or (wanted > version and is_trial):
                raise StopRequested("the alias stands for another version")

    def _way_back(self, active: ActiveModel, candidate: ActiveModel) -> _Before | None:
        """What a candidate may be rolled back to: the newest that is known to be good. Nothing,
        where the alias goes back, or we do: that is the way away from the active model."""
        is_same = candidate.content == active.content
        if candidate.identity.version < active.identity.version or is_same:
            return None
        epoch = active.first_epoch
        is_good = self._turns.has_run(epoch) and not self._health.complaint(epoch)
        return _Before(active.identity, active.content) if is_good else self._before

    def _await_pause(self, epoch: int, watch: PauseWatch) -> float:
        """Waits for the new model's first batch, which ends what frames can feel of the swap."""
        end = self._clock.monotonic() + _FIRST_BATCH_WITHIN_S
        while not self._turns.has_run(epoch) and self._clock.monotonic() < end:
            if self._stopping.wait(0.01):
                break
        return watch.pause_s
