"""From an artifact to a model that may score: loaded, held to its golden outputs, warmed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.artifact.artifact import Artifact
from pipeline.artifact.verify import check_golden
from pipeline.batch import BucketPlan
from pipeline.clock import Clock
from pipeline.config import Settings
from pipeline.cores import default_torch_threads, usable_cores
from pipeline.engine.active import ActiveModel
from pipeline.engine.base import Engine, EngineOutOfMemory, no_room
from pipeline.engine.device import choose_device, use_threads
from pipeline.engine.gentle import at_once
from pipeline.engine.torchscript import load_torchscript
from pipeline.errors import StopRequested
from pipeline.types import ModelIdentity

log = logging.getLogger(__name__)

_MEASURED_RUNS = 2


@dataclass(frozen=True, slots=True)
class Loader:
    """Loads artifacts for one device and one plan of buckets. Thread-safe: it holds no state.

    ``is_stopping`` is asked between buckets: warming a large network takes a minute on a CPU.
    """

    device: str
    plan: BucketPlan
    clock: Clock
    is_stopping: Callable[[], bool] = lambda: False

    @classmethod
    def of(
        cls, settings: Settings, clock: Clock, is_stopping: Callable[[], bool] = lambda: False
    ) -> Loader:
        """As a worker with these settings loads; sets torch's threads for the process.

        Raises:
            ConfigError: the device isn't there.
        """
        use_threads(torch_threads(settings))
        plan = BucketPlan.of(settings.batch.max_size, settings.batch.max_wait_s)
        return cls(choose_device(settings.engine.device), plan, clock, is_stopping)

    def load(
        self, artifact: Artifact, epoch: int, rest: Callable[[], None] = at_once
    ) -> ActiveModel:
        """Gives a model that is ready to score at full speed from its first batch on. ``rest`` is
        called after each step.

        Raises:
            ArtifactRefused: it doesn't load, is wrong on its golden inputs, or there is no memory
                for a batch of one.
            StopRequested: the worker is ending.
            RestartNeeded: the device is lost.
        """
        manifest = artifact.manifest
        started = self.clock.monotonic()
        engine = load_engine(artifact, self.device, rest)
        log.info(
            "%s@%d passes its golden test on %s; warming batches of up to %d",
            *(manifest.name, manifest.version, self.device, self.plan.sizes[-1]),
        )
        shape_hwc = manifest.contract.preprocess.sample_shape_hwc
        infer_s = self._warm_all(engine, shape_hwc, rest)
        took_s = self.clock.monotonic() - started
        log.info(
            "%s@%d is ready after %.1f s, in batches of up to %d",
            *(manifest.name, manifest.version, took_s, max(infer_s)),
        )
        return ActiveModel(
            identity=ModelIdentity(manifest.name, manifest.version, manifest.sha256, epoch),
            engine=engine,
            contract=manifest.contract,
            infer_s=infer_s,
            content=manifest.content,
            reference=manifest.reference,
        )

    def _warm_all(
        self, engine: Engine, shape_hwc: tuple[int, int, int], rest: Callable[[], None]
    ) -> dict[int, float]:
        """Warms the wanted buckets, as far as they fit; gives the seconds of a batch of each."""
        infer_s: dict[int, float] = {}
        for size in self.plan.sizes:
            if not self.plan.is_wanted(size, infer_s):
                continue
            try:
                infer_s[size] = self._warm(engine, size, shape_hwc, rest)
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
        self,
        engine: Engine,
        size: int,
        shape_hwc: tuple[int, int, int],
        rest: Callable[[], None],
    ) -> float:
        """Warms one bucket; gives the seconds of one batch, the better of two."""
        if self.is_stopping():
            raise StopRequested("the worker is ending")
        engine.warm((size,), shape_hwc)
        rest()
        batch_nhwc = np.zeros((size, *shape_hwc), np.uint8)
        taken_s: list[float] = []
        for _ in range(_MEASURED_RUNS):
            started = self._spent_s()
            engine.score(batch_nhwc)
            taken_s.append(self._spent_s() - started)
            rest()
        return min(taken_s)

    def _spent_s(self) -> float:
        """On a CPU the seconds in which this thread computed: it gives way to others while frames
        are scored, and what it waits for them says nothing of the network."""
        return time.thread_time() if self.device == "cpu" else self.clock.monotonic()


def load_engine(artifact: Artifact, device: str, rest: Callable[[], None] = at_once) -> Engine:
    """Gives an engine that was held to its golden outputs; its first batches are slow ones.
    ``rest`` is called after each step.

    Raises:
        ArtifactRefused: it doesn't load, is wrong on its golden inputs, or there is no memory.
        RestartNeeded: the device is lost.
    """
    engine = load_torchscript(artifact.model, device, rest)
    rest()
    check_golden(engine, artifact)
    rest()
    return engine


def torch_threads(settings: Settings) -> int:
    """How many threads torch computes with."""
    return settings.engine.threads or default_torch_threads(usable_cores())
