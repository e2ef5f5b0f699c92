"""From an artifact to a model that may score: loaded, held to its golden outputs, warmed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.artifact.artifact import Artifact
from pipeline.artifact.verify import check_golden
from pipeline.clock import Clock
from pipeline.engine.active import ActiveModel
from pipeline.engine.base import Engine
from pipeline.engine.torchscript import load_torchscript
from pipeline.types import ModelIdentity

_MEASURED_RUNS = 2


@dataclass(frozen=True, slots=True)
class Loader:
    """Loads artifacts for one device and one set of buckets. Thread-safe: it holds no state."""

    device: str
    sizes: tuple[int, ...]
    clock: Clock

    def load(self, artifact: Artifact, epoch: int) -> ActiveModel:
        """Gives a model that is ready to score at full speed from its first batch on.

        Raises:
            ArtifactRefused: it doesn't load, or is wrong on its golden inputs.
        """
        manifest = artifact.manifest
        engine = load_torchscript(artifact.model, self.device)
        check_golden(engine, artifact)
        shape_hwc = manifest.contract.preprocess.sample_shape_hwc
        engine.warm(self.sizes, shape_hwc)
        return ActiveModel(
            identity=ModelIdentity(manifest.name, manifest.version, manifest.sha256, epoch),
            engine=engine,
            contract=manifest.contract,
            infer_s=self._measure(engine, shape_hwc),
        )

    def _measure(self, engine: Engine, shape_hwc: tuple[int, int, int]) -> dict[int, float]:
        """Seconds of one batch for each bucket: the better of two, after the warm-up."""
        return {size: self._time(engine, (size, *shape_hwc)) for size in self.sizes}

    def _time(self, engine: Engine, shape_nhwc: tuple[int, ...]) -> float:
        batch_nhwc = np.zeros(shape_nhwc, np.uint8)
        taken_s: list[float] = []
        for _ in range(_MEASURED_RUNS):
            started = self.clock.monotonic()
            engine.score(batch_nhwc)
            taken_s.append(self.clock.monotonic() - started)
        return min(taken_s)
