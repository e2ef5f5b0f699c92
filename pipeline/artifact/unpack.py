"""From bytes to an artifact: each is what the manifest says, or it isn't that artifact."""

from __future__ import annotations

import hashlib

from pipeline.artifact.artifact import Artifact, Golden
from pipeline.artifact.manifest import GOLDEN_FILE, MODEL_FILE, Manifest
from pipeline.artifact.verify import check_golden_shapes
from pipeline.errors import ArtifactRefused


def unpack(manifest: Manifest, written: bytes, model: bytes, golden: bytes) -> Artifact:
    """The artifact of these files; nothing in them is executed. ``written`` are the manifest's.

    Raises:
        ArtifactRefused: ``corrupt``: a size, digest or golden vectors that don't agree with the
            manifest.
    """
    what = f"{manifest.name}@{manifest.version}"
    if len(model) != manifest.size_bytes:
        raise _altered(f"{MODEL_FILE} of {what}", f"{len(model)} bytes", manifest.size_bytes)
    _check_digest(f"{MODEL_FILE} of {what}", model, manifest.sha256)
    _check_digest(f"{GOLDEN_FILE} of {what}", golden, manifest.golden_sha256)
    artifact = Artifact(manifest, model, Golden.from_bytes(golden), written, golden)
    check_golden_shapes(manifest, artifact)
    return artifact


def _check_digest(what: str, content: bytes, expected: str) -> None:
    got = hashlib.sha256(content).hexdigest()
    if got != expected:
        raise _altered(what, f"sha256 {got}", expected)


def _altered(what: str, got: str, expected: object) -> ArtifactRefused:
    return ArtifactRefused(
        "corrupt", f"{what} has {got}, expected {expected} as its manifest says: publish it again"
    )
