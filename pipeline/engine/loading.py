"""From an artifact to a model that may score: loaded, held to its golden outputs, warmed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.artifact.artifact import Artifact
from pipeline.artifact.manifest import Manifest
from pipeline.artifact.verify import check_golden
from pipeline.batch import BucketPlan
from pipeline.clock import Clock
from pipeline.config import Settings
from pipeline.cores import default_torch_threads, usable_cores
from pipeline.engine.active import ActiveModel
from pipeline.engine.backends import backends_of, check_backend, digest_of, load_backend
from pipeline.engine.base import Engine, EngineOutOfMemory, no_room
from pipeline.engine.device import choose_device, use_threads
from pipeline.engine.gentle import Rests, at_once, gently
from pipeline.errors import StopRequested
from pipeline.types import Backend, ModelIdentity

log = logging.getLogger(__name__)

_MEASURED_RUNS = 2

_SHORTEST_S = 1e-6
"""A batch takes no shorter, whatever a coarse clock says: others divide by it."""


@dataclass(frozen=True, slots=True)
class _Pace:
    """``rest`` is called after each step; ``spent_s`` is the clock that batches are timed with, in
    seconds from any moment; a sparing one runs each size twice instead of four times."""

    rest: Callable[[], None]
    spent_s: Callable[[], float]
    is_sparing: bool = False


@dataclass(frozen=True, slots=True)
class Loader:
    """Loads artifacts for one device, one backend and one plan of buckets. Thread-safe: it holds no
    state.

    ``is_stopping`` is asked between buckets: warming a large network takes a minute on a CPU.
    ``threads`` are those of a backend that isn't torch's. With ``is_auto`` versions that have no
    file for the backend are run by TorchScript.
    """

    device: str
    plan: BucketPlan
    clock: Clock
    is_stopping: Callable[[], bool] = lambda: False
    backend: Backend = "torchscript"
    threads: int = 1
    is_auto: bool = False

    @classmethod
    def of(
        cls, settings: Settings, clock: Clock, is_stopping: Callable[[], bool] = lambda: False
    ) -> Loader:
        """As a worker with these settings loads; sets torch's threads for the process.

        Raises:
            ConfigError: the device isn't there, or the backend isn't or doesn't compute on it.
        """
        said, threads = settings.engine.backend, torch_threads(settings)
        use_threads(threads)
        device = choose_device(settings.engine.device)
        backend: Backend = "torchscript" if said == "auto" else said
        check_backend(backend, device)
        plan = BucketPlan.of(settings.batch.max_size, settings.batch.max_wait_s)
        return cls(device, plan, clock, is_stopping, backend, threads, said == "auto")

    def backend_for(self, manifest: Manifest) -> Backend:
        """Who runs this version."""
        has_file = self.backend in backends_of(manifest)
        return self.backend if has_file or not self.is_auto else "torchscript"

    def digest_of(self, manifest: Manifest) -> str:
        """Of the file that is run of this version."""
        return digest_of(manifest, self.backend_for(manifest))

    def load(self, artifact: Artifact, epoch: int, rests: Rests | None = None) -> ActiveModel:
        """Gives a model that is ready to score at full speed from its first batch on. With
        ``rests`` it is made ready beside frames that are scored meanwhile.

        Raises:
            ArtifactRefused: it doesn't load, is wrong on its golden inputs, or there is no memory
                for a batch of one.
            StopRequested: the worker is ending, or the rests say that it isn't wanted any more.
            RestartNeeded: the device is lost.
        """
        manifest = artifact.manifest
        started = self.clock.monotonic()
        backend = self.backend_for(manifest)
        engine = load_backend(
            backend, artifact, self.device, threads=self.threads, rest=rests or at_once
        )
        if rests is None:
            infer_s = self._hold_and_warm(engine, artifact, _Pace(at_once, self.clock.monotonic))
        else:
            rests()
            infer_s = self._beside_frames(engine, artifact, rests)
        took_s = self.clock.monotonic() - started
        log.info(
            "%s@%d is ready after %.1f s, run by %s in batches of up to %d",
            *(manifest.name, manifest.version, took_s, backend, max(infer_s)),
        )
        return ActiveModel(
            identity=ModelIdentity(
                manifest.name, manifest.version, self.digest_of(manifest), epoch
            ),
            engine=engine,
            contract=manifest.contract,
            infer_s=infer_s,
            content=manifest.content,
            reference=manifest.reference,
        )

    def _beside_frames(self, engine: Engine, artifact: Artifact, rests: Rests) -> dict[int, float]:
        """On a CPU at a low priority, and by the time that its thread computed: what it waited for
        others says nothing of the network. A GPU is shared by all alike, and times would be wrong
        where the CPU comes too late to give it work."""
        if self.device != "cpu":
            return self._hold_and_warm(engine, artifact, _Pace(rests, self.clock.monotonic))
        pace = _Pace(rests, time.thread_time, is_sparing=True)

        def work() -> dict[int, float]:
            rests()  # they begin anew on this thread
            return self._hold_and_warm(engine, artifact, pace)

        return gently(work)

    def _hold_and_warm(self, engine: Engine, artifact: Artifact, pace: _Pace) -> dict[int, float]:
        manifest = artifact.manifest
        check_golden(engine, artifact)
        pace.rest()
        log.info(
            "%s@%d passes its golden test on %s; warming batches of up to %d",
            *(manifest.name, manifest.version, self.device, self.plan.sizes[-1]),
        )
        shape_hwc = manifest.contract.preprocess.sample_shape_hwc
        return self._warm_all(engine, lambda size: self._warm(engine, shape_hwc, size, pace))

    def _warm_all(self, engine: Engine, warm: Callable[[int], float]) -> dict[int, float]:
        """Warms the wanted buckets, as far as they fit; gives the seconds of a batch of each."""
        infer_s: dict[int, float] = {}
        for size in self.plan.sizes:
            if not self.plan.is_wanted(size, infer_s):
                continue
            try:
                infer_s[size] = warm(size)
            except EngineOutOfMemory as cause:
                if not infer_s:
                    raise no_room("a batch of one frame", engine.device) from cause
                log.warning(
                    "%s has no memory for a batch of %d: batches are of at most %d",
                    *(engine.device, size, max(infer_s)),
                )
                break
        return infer_s

    def _warm(
        self, engine: Engine, shape_hwc: tuple[int, int, int], size: int, pace: _Pace
    ) -> float:
        """Warms one bucket; gives the seconds of one batch, the better of those that are measured.

        On a CPU torch compiles in the run after the golden inputs, and a size's second run is as
        quick as all others.
        """
        if self.is_stopping():
            raise StopRequested("the worker is ending")
        batch_nhwc = np.zeros((size, *shape_hwc), np.uint8)
        if pace.is_sparing:
            engine.score(batch_nhwc)
        else:
            engine.warm((size,), shape_hwc)
        pace.rest()
        taken_s: list[float] = []
        for _ in range(1 if pace.is_sparing else _MEASURED_RUNS):
            started_s = pace.spent_s()
            engine.score(batch_nhwc)
            taken_s.append(pace.spent_s() - started_s)
            pace.rest()
        return max(min(taken_s), _SHORTEST_S)


def load_engine(artifact: Artifact, device: str) -> Engine:
    """Gives an engine that was held to its golden outputs; its first batches are slow ones.

    Raises:
        ArtifactRefused: it doesn't load, is wrong on its golden inputs, or there is no memory.
        RestartNeeded: the device is lost.
    """
    engine = load_backend("torchscript", artifact, device)
    check_golden(engine, artifact)
    return engine


def torch_threads(settings: Settings) -> int:
    """How many threads a network computes with."""
    return settings.engine.threads or default_torch_threads(usable_cores())
