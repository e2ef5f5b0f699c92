"""From bytes to an artifact: each is what the manifest says, or it isn't that artifact."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.artifact.artifact import Artifact, Golden
from pipeline.artifact.manifest import FORMAT_FILES, GOLDEN_FILE, MODEL_FILE, Manifest
from pipeline.artifact.verify import check_golden_shapes
from pipeline.errors import ArtifactRefused
from pipeline.types import Format


@dataclass(frozen=True, slots=True)
class Files:
    """An artifact's files as they were read: nothing is known of them yet."""

    manifest: bytes
    model: bytes
    golden: bytes
    formats: Mapping[Format, bytes]

    @classmethod
    def of(cls, artifact: Artifact) -> Files:
        """Those that it was made of."""
        return cls(artifact.written, artifact.model, artifact.packed, artifact.formats)

    @property
    def network_bytes(self) -> int:
        """Of the network, in all its formats."""
        return len(self.model) + sum(map(len, self.formats.values()))


def unpack(manifest: Manifest, files: Files) -> Artifact:
    """The artifact of these files, of which ``manifest`` was parsed; nothing in them is executed.

    Raises:
        ArtifactRefused: ``corrupt``: a size, digest or golden vectors that don't agree with the
            manifest.
    """
    what = f"{manifest.name}@{manifest.version}"
    _check_size(f"{MODEL_FILE} of {what}", files.model, manifest.size_bytes)
    _check_digest(f"{MODEL_FILE} of {what}", files.model, manifest.sha256)
    _check_digest(f"{GOLDEN_FILE} of {what}", files.golden, manifest.golden_sha256)
    formats: dict[Format, bytes] = {each: files.formats[each] for each in manifest.formats}
    for each, content in formats.items():
        _check_size(f"{FORMAT_FILES[each]} of {what}", content, manifest.formats[each].size_bytes)
        _check_digest(f"{FORMAT_FILES[each]} of {what}", content, manifest.formats[each].sha256)
    golden = Golden.from_bytes(files.golden)
    artifact = Artifact(manifest, files.model, golden, formats, files.manifest, files.golden)
    check_golden_shapes(manifest, artifact)
    return artifact


def _check_size(what: str, content: bytes, expected: int) -> None:
    if len(content) != expected:
        raise _altered(what, f"{len(content)} bytes", expected)


def _check_digest(what: str, content: bytes, expected: str) -> None:
    got = hashlib.sha256(content).hexdigest()
    if got != expected:
        raise _altered(what, f"sha256 {got}", expected)


def _altered(what: str, got: str, expected: object) -> ArtifactRefused:
    return ArtifactRefused(
        "corrupt", f"{what} has {got}, expected {expected} as its manifest says: publish it again"
    )
