"""What the verbs of ``headrace models`` have in common."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pipeline.artifact.artifact import Artifact
    from pipeline.artifact.registry import Registry
    from pipeline.types import Backend

RegistryUrl = Annotated[
    str,
    typer.Option(envvar="HEADRACE_MODEL__REGISTRY", help="Folder or fsspec URL of the registry."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Model = Annotated[str, typer.Argument(metavar="NAME[@VERSION or @ALIAS]", help="Which model.")]


def open_registry(url: str, trusted_keys: Sequence[str] = ()) -> Registry:
    """The registry; with keys, only what one of them signed is read.

    Raises:
        ConfigError: the URL or a key can't be one.
    """
    from pipeline.artifact.registry import Registry
    from pipeline.artifact.signature import TrustedKeys

    return Registry(url, TrustedKeys.of(trusted_keys))


def resolve(there: Registry, model: str) -> tuple[str, int]:
    """Name and version of what the user wrote.

    Raises:
        HeadraceError: it can't be one, or isn't there.
    """
    from pipeline.artifact.names import parse_model

    name, selector = parse_model(model)
    return name, there.resolve(name, selector)


def verified(
    there: Registry, name: str, version: int, backends: Sequence[Backend] = ("torchscript",)
) -> Artifact:
    """See ``read_verified``."""
    from pipeline.probe.verified import patient_probe, read_verified

    with patient_probe() as probe:
        return read_verified(there, name, version, probe, backends)


def say(as_json: bool, document: dict[str, Any], line: str) -> None:
    """One line, for people or for programs."""
    if as_json:
        print_json(document)
    else:
        typer.echo(line)


def print_json(document: object) -> None:
    """One line of JSON."""
    typer.echo(json.dumps(document, ensure_ascii=False))
