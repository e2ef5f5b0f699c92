"""From ``manifest.json`` to a manifest that agrees with itself and with where it lies."""

from __future__ import annotations

import json

from pydantic import ValidationError

from pipeline.artifact.manifest import Manifest
from pipeline.errors import ArtifactRefused

KNOWN_SCHEMA = "headrace.artifact/1"
MOST_MANIFEST_BYTES = 16 * 1024 * 1024
"""A hundred times the labels of ImageNet-21k's 21,841 classes fit."""

_SCHEMA_FAMILY = "headrace.artifact/"


def parse_manifest(content: bytes, name: str, version: int) -> Manifest:
    """Reads the manifest of ``name@version``.

    Raises:
        ArtifactRefused: ``corrupt``: not JSON, fields that are missing, unknown or wrong, another
            model's, or a preprocessing that doesn't hash to its digest; ``incompatible``: a schema
            that this Headrace doesn't know.
    """
    what = f"the manifest of {name}@{version}"
    if len(content) > MOST_MANIFEST_BYTES:
        raise _corrupt(what, f"has more than {MOST_MANIFEST_BYTES} bytes")
    _check_schema(what, content)
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as cause:
        first = cause.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "all of it"
        raise _corrupt(what, f"is wrong in {where} ({first['msg']})") from cause
    if (manifest.name, manifest.version) != (name, version):
        raise _corrupt(what, f"says that it is {manifest.name}@{manifest.version}")
    check_preprocess(manifest)
    return manifest


def check_preprocess(manifest: Manifest) -> None:
    """Checks that the preprocessing is the one that the digest names.

    Raises:
        ArtifactRefused: ``corrupt``.
    """
    contract = manifest.contract
    if contract.preprocess.digest != contract.preprocess_sha256:
        raise _corrupt(
            f"the manifest of {manifest.name}@{manifest.version}",
            f"names the preprocessing {contract.preprocess_sha256}, but its fields hash to "
            f"{contract.preprocess.digest}",
        )


def _check_schema(what: str, content: bytes) -> None:
    try:
        # RecursionError: brackets nested a thousand deep.
        document = json.loads(content)
    except (ValueError, RecursionError) as cause:
        raise _corrupt(what, f"isn't JSON ({cause})") from cause
    schema = document.get("schema") if isinstance(document, dict) else None
    if isinstance(schema, str) and schema != KNOWN_SCHEMA and schema.startswith(_SCHEMA_FAMILY):
        raise ArtifactRefused(
            "incompatible",
            f"{what} has the schema {schema!r}, expected {KNOWN_SCHEMA!r}: it was published by "
            f"another version of Headrace; update this one or publish the model with it",
        )


def _corrupt(what: str, problem: str) -> ArtifactRefused:
    return ArtifactRefused("corrupt", f"{what} {problem}: publish the model again")
