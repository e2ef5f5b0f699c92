"""What a version that is in use says of held-out data, as a worker would have it from it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.artifact.manifest import Contract
from pipeline.artifact.registry import Registry
from pipeline.artifact.verify import check_compatible
from pipeline.engine.base import Engine, EngineFailed, EngineOutOfMemory, no_room
from pipeline.engine.loading import load_engine
from pipeline.errors import ArtifactRefused
from pipeline.probe.client import Probe
from pipeline.probe.verified import read_verified
from trainer.data import Samples, heldout_loader
from trainer.evaluate import Predictions

_BATCH = 32
"""What workers' batches hold at most by default."""


@dataclass(frozen=True, slots=True)
class Heldout:
    """What a candidate is judged by: samples, and what it said of them, in their order. ``device``
    is where an incumbent runs."""

    samples: Samples
    predictions: Predictions
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class Incumbents:
    """Versions of one model that can be run, after all that a worker asks of them.

    With trusted keys in ``registry`` one of them must have signed a version; each is first run in
    ``probe``.
    """

    registry: Registry
    name: str
    probe: Probe

    def predictions(self, version: int, contract: Contract, heldout: Heldout) -> Predictions:
        """What a version says of held-out samples that were prepared after ``contract``, which must
        be its own too.

        Raises:
            ArtifactRefused: it isn't sound or trusted, has another contract, or has no memory here.
            RestartNeeded: the device is lost.
        """
        check_compatible(contract, self.registry.manifest(self.name, version).contract)
        artifact = read_verified(self.registry, self.name, version, self.probe)
        engine = load_engine(artifact, heldout.device)
        what = f"{self.name}@{version}"
        try:
            logits_nk = _scored(engine, heldout.samples, len(contract.labels))
        except EngineOutOfMemory as cause:
            raise no_room(f"{_BATCH} samples of {what}", engine.device) from cause
        except EngineFailed as cause:
            raise ArtifactRefused(
                "corrupt", f"{what} fails on held-out samples: {cause}"
            ) from cause
        finally:
            engine.close()
        return Predictions(contract.labels, logits_nk, heldout.predictions.classes)


def _scored(engine: Engine, samples: Samples, classes: int) -> Tensor:
    """Logits of all samples in their order, ``[N, K]``.

    Raises:
        EngineFailed: the network does, or gives another shape for other samples than its golden
            ones.
    """
    logits = []
    for batch_nhwc, _ in heldout_loader(samples, _BATCH):
        scored_nk = engine.score(batch_nhwc.numpy())
        if scored_nk.shape != (len(batch_nhwc), classes):
            raise EngineFailed(f"{scored_nk.shape}, expected {(len(batch_nhwc), classes)}")
        logits.append(torch.from_numpy(scored_nk))
    return torch.cat(logits)
