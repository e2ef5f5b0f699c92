"""Versions of a registry that have stood the probe: for those who are no worker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from pipeline.artifact.artifact import Artifact
from pipeline.artifact.registry import Registry
from pipeline.clock import SystemClock
from pipeline.probe.client import Probe
from pipeline.types import Backend

_WITHIN_S = 120.0


@contextmanager
def patient_probe() -> Iterator[Probe]:
    """A probe with two minutes for each version; its process is there from the first one on until
    the block ends."""
    with closing(Probe(SystemClock(), _WITHIN_S)) as probe:
        yield probe


def read_verified(
    registry: Registry,
    name: str,
    version: int,
    probe: Probe,
    backends: Sequence[Backend] = ("torchscript",),
) -> Artifact:
    """A version that was read, hashed, and loaded and held to its golden outputs in the probe, by
    each of ``backends``: what it does there it can't do to this process. Blocks for seconds.

    Raises:
        ArtifactRefused: it isn't sound.
    """
    artifact = registry.read(name, version)
    for backend in backends:
        probe.check(artifact, backend=backend)
    return artifact
