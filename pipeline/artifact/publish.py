"""How a version comes to be, in an order that a death at any point can't harm.

    claim the number → model in its formats, golden, Triton's config, signature → manifest
        → Triton's at the model → aliases

Each step is durable before the next begins. Without its manifest a version isn't there; its number
stays taken, so nobody ever writes into what another left behind.
"""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime

from pydantic import ValidationError

from pipeline.artifact.artifact import Artifact, Draft
from pipeline.artifact.keys import SigningKey
from pipeline.artifact.manifest import (
    FORMAT_FILES,
    GOLDEN_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    TRITON_FILE,
    FormatFile,
    Manifest,
)
from pipeline.artifact.names import version_of
from pipeline.artifact.parse import check_preprocess, parse_manifest
from pipeline.artifact.signature import SIGNATURE_FILE, sign
from pipeline.artifact.storage import MOST_ALIAS_BYTES, Storage
from pipeline.artifact.triton import config_pbtxt
from pipeline.artifact.verify import check_golden_shapes
from pipeline.errors import ArtifactRefused


def publish_version(
    storage: Storage, draft: Draft, aliases: tuple[str, ...], key: SigningKey | None = None
) -> Manifest:
    """Writes a new version, signed by ``key`` where one is given, and moves ``aliases`` forwards to
    it. Names are valid already.

    Raises:
        ArtifactRefused: the draft contradicts itself; nothing was written.
        OSError: the storage failed; no reader sees anything of the version.
    """
    golden = draft.golden.to_bytes()
    manifest_of(draft, golden, version=1)  # refuses a bad draft before a number is taken
    version = _claim_version(storage, draft.name)
    manifest = manifest_of(draft, golden, version)
    folder = f"{draft.name}/{version}"
    triton = config_pbtxt(draft.name, draft.contract).encode()
    storage.write(f"{folder}/{MODEL_FILE}", draft.model)
    for format_, content in draft.formats.items():
        storage.write(f"{folder}/{FORMAT_FILES[format_]}", content)
    storage.write(f"{folder}/{GOLDEN_FILE}", golden)
    storage.write(f"{folder}/{TRITON_FILE}", triton)
    written = manifest_json(manifest)
    if key is not None:
        storage.write(f"{folder}/{SIGNATURE_FILE}", sign(written, key))
    storage.write(f"{folder}/{MANIFEST_FILE}", written)
    with storage.locked(draft.name):
        storage.write(f"{draft.name}/{TRITON_FILE}", triton)
    for alias in aliases:
        move_alias(storage, draft.name, alias, version, only_forwards=True)
    return manifest


def move_alias(
    storage: Storage,
    name: str,
    alias: str,
    version: int,
    *,
    only_forwards: bool = False,
    since: int | None = None,
) -> int:
    """Lets ``alias`` stand for ``version``: one replaced file. Gives what it stands for then.

    ``only_forwards`` leaves an alias that stands for a later version: of two publishers at once the
    slower one mustn't undo the faster one's move. ``since`` leaves one that doesn't stand for that
    version (0: for none) any more: what was decided about it was about another.

    Raises:
        OSError: the storage failed; the alias is as it was.
    """
    with storage.locked(name):
        if only_forwards or since is not None:
            now = alias_target(storage, name, alias)
            if (only_forwards and now > version) or since not in (None, now):
                return now
        storage.write(f"{name}/{alias}", f"{version}\n".encode())
    return version


def alias_target(storage: Storage, name: str, alias: str) -> int:
    """The version that ``alias`` stands for; 0 where it isn't there, or holds none.

    Raises:
        OSError: the storage failed.
    """
    try:
        content = storage.read(f"{name}/{alias}", MOST_ALIAS_BYTES)
    except FileNotFoundError:
        return 0
    return version_of(content.decode("ascii", "replace").strip()) or 0


def _claim_version(storage: Storage, name: str) -> int:
    """Takes the number after the highest that anybody ever took, whole or not."""
    try:
        taken = [version_of(each.name) or 0 for each in storage.entries(name) if each.is_folder]
    except FileNotFoundError:
        taken = []
    version = max(taken, default=0) + 1
    while not storage.claim(f"{name}/{version}"):
        version += 1
    return version


def manifest_of(draft: Draft, golden: bytes, version: int) -> Manifest:
    """The manifest, once it is sure that a reader will take it.

    Raises:
        ArtifactRefused: the draft contradicts itself.
    """
    broken = {key: value for key, value in draft.metrics.items() if not math.isfinite(value)}
    if broken:
        raise ArtifactRefused(
            "incompatible",
            f"{draft.name} has metrics that aren't finite ({broken}): its training went wrong; "
            f"train it with a lower learning rate",
        )
    try:
        manifest = Manifest(
            schema="headrace.artifact/1",
            name=draft.name,
            version=version,
            created_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            sha256=_sha256(draft.model),
            size_bytes=len(draft.model),
            golden_sha256=_sha256(golden),
            golden_tolerance=draft.golden_tolerance,
            contract=draft.contract,
            torch_version=draft.torch_version,
            exported_by=draft.exported_by,
            metrics=dict(draft.metrics),
            notes=dict(draft.notes),
            reference=draft.reference,
            formats={
                each: FormatFile(sha256=_sha256(content), size_bytes=len(content))
                for each, content in draft.formats.items()
            },
        )
    except ValidationError as cause:
        raise ArtifactRefused("corrupt", f"{draft.name} can't be published: {cause}") from cause
    check_preprocess(manifest)
    check_golden_shapes(manifest, Artifact(manifest, draft.model, draft.golden))
    return parse_manifest(manifest_json(manifest), draft.name, version)


def manifest_json(manifest: Manifest) -> bytes:
    """As ``manifest.json`` has it. Without a reference or other formats the bytes are those of
    before there were any, which older readers take."""
    without = {name for name in ("reference", "formats") if not getattr(manifest, name)}
    return manifest.model_dump_json(by_alias=True, indent=2, exclude=without).encode() + b"\n"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
