"""Who runs a worker's networks: as the settings say, or the winner of a race."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from pipeline.artifact.artifact import Artifact
from pipeline.artifact.manifest import Manifest
from pipeline.config import Settings
from pipeline.cores import default_decode_threads, usable_cores
from pipeline.engine.backends import installed_backends
from pipeline.engine.device import use_threads
from pipeline.engine.laps import KeptRaces, Raced, fastest, runners_of
from pipeline.engine.loading import Loader
from pipeline.engine.race import Race
from pipeline.errors import ArtifactRefused
from pipeline.types import Backend

log = logging.getLogger(__name__)


def candidates(loader: Loader, manifest: Manifest) -> list[Backend]:
    """Who may run this version: one where the settings say who, else all that are installed, have a
    file of it and compute on the device; TorchScript first."""
    if not loader.is_auto:
        return [loader.backend]
    return installed_backends(manifest) if loader.device == "cpu" else ["torchscript"]


def probed(backends: Sequence[Backend], check: Callable[[Backend], None]) -> list[Backend]:
    """Those of ``candidates`` whose file stands ``check``.

    Raises:
        ArtifactRefused: the first one's doesn't.
    """
    fit: list[Backend] = []
    for backend in backends:
        try:
            check(backend)
        except ArtifactRefused as refused:
            if not fit:
                raise
            log.warning("%s is left out: %s", backend, refused)
        else:
            fit.append(backend)
    return fit


def choose(
    loader: Loader,
    settings: Settings,
    artifact: Artifact,
    among: Sequence[Backend],
    kept: KeptRaces | None = None,
) -> Loader:
    """``loader`` with the one of ``among`` and the threads that run this network the fastest here,
    where the settings leave that to a race; as it is, where they don't or there is a GPU. Blocks
    for seconds where there was no such race before; ``kept`` are those, by default the user's.

    Raises:
        StopRequested: the worker is ending.
    """
    if not loader.is_auto or loader.device != "cpu":
        return loader
    kept = kept or KeptRaces.usual()
    manifest, cores = artifact.manifest, usable_cores()
    runners = runners_of(among, settings.engine.threads, cores)
    decoding = settings.decode.threads or default_decode_threads(cores)
    sizes = loader.plan.sizes[::2]
    raced = kept.of(manifest, cores)
    if raced is None or not raced.says(runners, sizes, decoding):
        log.info("%s@%d: a race of %d runners", manifest.name, manifest.version, len(runners))
        race = Race(loader.device, sizes, decoding, loader.clock, loader.is_stopping)
        raced = Raced(sizes, decoding, tuple(race.run(artifact, runners)))
        kept.keep(manifest, cores, raced)
    for lap in raced.laps:
        if lap.problem:
            log.warning("%s is left out: %s", lap.runner, lap.problem)
    best = fastest(raced.laps)
    # Torch's own number, for versions that have no file for another winner.
    use_threads(fastest([lap for lap in raced.laps if lap.runner.backend == "torchscript"]).threads)
    log.info("%s@%d is run by %s", manifest.name, manifest.version, best)
    return replace(loader, backend=best.backend, threads=best.threads)
