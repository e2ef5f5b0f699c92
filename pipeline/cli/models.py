"""``headrace models``: what a registry holds, whether it is sound, and which version is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.model_moves import promote, rollback, sign
from pipeline.cli.model_parts import (
    AsJson,
    Model,
    RegistryUrl,
    open_registry,
    print_json,
    resolve,
    say,
    verified,
)
from pipeline.cli.model_quarantine import quarantine
from pipeline.cli.model_race import laps_json, laps_of, print_laps
from pipeline.cli.tables import print_fields, print_lines

if TYPE_CHECKING:
    from pipeline.artifact.manifest import Manifest
    from pipeline.artifact.registry import Registry

_MOST_LABELS = 20

app = typer.Typer(
    help="List, show, verify, sign, promote and roll back models; see what workers refuse.",
    no_args_is_help=True,
    add_completion=False,
)


@app.command("list")
def list_models(registry: RegistryUrl = "registry", as_json: AsJson = False) -> None:
    """List every model and version, and the aliases that stand for them."""
    there = open_registry(registry)
    found = [_summary(there, name) for name in there.models()]
    if as_json:
        print_json(found)
        return
    if not found:
        typer.echo(
            f"no models in {registry}: `headrace train --publish NAME --registry {registry}` "
            f"makes one",
            err=True,
        )
        return
    rows = [_version_row(model, version) for model in found for version in model["versions"]]
    print_lines(("model", "made (UTC)", "MB", "sha256", "aliases", "metrics"), rows)
    for model in found:
        for version in model["versions"]:
            if "problem" in version:
                typer.echo(f"{model['name']}@{version['version']}: {version['problem']}")
        for alias, target in _dangling(model):
            typer.echo(
                f"{model['name']}@{alias} stands for version {target}, which isn't there, or not"
                f" whole: move it with `headrace models promote {model['name']}@VERSION"
                f" --alias {alias}`"
            )


@app.command()
def show(model: Model, registry: RegistryUrl = "registry", as_json: AsJson = False) -> None:
    """Show a version's manifest, and who runs it the fastest here if a race was run."""
    there = open_registry(registry)
    name, version = resolve(there, model)
    manifest = there.manifest(name, version)
    aliases, laps = _aliases_of(there, name, version), laps_of(manifest)
    if as_json:
        said = {"aliases": aliases, "race": laps_json(laps)}
        print_json(manifest.model_dump(mode="json", by_alias=True) | said)
        return
    print_fields(_manifest_rows(manifest, aliases))
    if laps:
        print_laps(laps)


@app.command()
def verify(
    model: Model,
    trusted_key: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="It must be signed by this key, or one of; repeatable."),
    ] = None,
    registry: RegistryUrl = "registry",
    as_json: AsJson = False,
) -> None:
    """Read and hash every byte of a version, look at its operators, run its golden inputs.

    It is loaded on the CPU, in a process that can do nothing but compute.
    """
    from pipeline.engine.backends import installed_backends

    there = open_registry(registry, trusted_key or [])
    name, version = resolve(there, model)
    backends = installed_backends(there.manifest(name, version))
    artifact = verified(there, name, version, backends)
    manifest = artifact.manifest
    vectors = len(artifact.golden.inputs_nhwc)
    done = {"name": manifest.name, "version": manifest.version, "sha256": manifest.sha256}
    say(
        as_json,
        done
        | {
            "golden": vectors,
            "verified": True,
            "trusted": bool(trusted_key),
            "backends": backends,
        },
        f"{manifest.name}@{manifest.version} is sound: {manifest.size_bytes} bytes hashed, "
        f"{vectors} golden inputs within {manifest.golden_tolerance:g} by {' and '.join(backends)}"
        + (", signed by a trusted key" if trusted_key else ""),
    )


for _verb in (sign, promote, rollback, quarantine):
    app.command()(_verb)


def _aliases_of(there: Registry, name: str, version: int) -> list[str]:
    return [alias for alias, target in there.aliases(name).items() if target == version]


def _summary(there: Registry, name: str) -> dict[str, Any]:
    """A model as ``list --json`` gives it; a version that can't be read says why."""
    from pipeline.errors import ArtifactRefused

    versions: list[dict[str, Any]] = []
    for version in there.versions(name):
        try:
            manifest = there.manifest(name, version)
        except ArtifactRefused as refused:
            versions.append({"version": version, "problem": str(refused)})
            continue
        kept = {"version", "created_at", "sha256", "size_bytes", "metrics"}
        versions.append(manifest.model_dump(mode="json", include=kept))
    return {"name": name, "aliases": there.aliases(name), "versions": versions}


def _dangling(model: dict[str, Any]) -> list[tuple[str, int]]:
    """Aliases without a version."""
    there = {version["version"] for version in model["versions"]}
    return [(alias, target) for alias, target in model["aliases"].items() if target not in there]


def _version_row(model: dict[str, Any], version: dict[str, Any]) -> tuple[str, ...]:
    number = version["version"]
    name = f"{model['name']}@{number}"
    aliases = ",".join(alias for alias, target in model["aliases"].items() if target == number)
    if "problem" in version:
        return (name, "-", "-", "-", aliases or "-", "can't be read, see below")
    metrics = ", ".join(f"{key} {value:.4g}" for key, value in version["metrics"].items())
    made = version["created_at"][: len("2026-01-31T23:59")].replace("T", " ")
    size = f"{version['size_bytes'] / 1e6:.2f}"
    return (name, made, size, version["sha256"][:8], aliases or "-", metrics)


def _format_rows(manifest: Manifest) -> Iterator[tuple[str, str]]:
    for name, file in manifest.formats.items():
        yield name, f"{file.size_bytes} bytes"
        yield "", file.sha256


def _manifest_rows(manifest: Manifest, aliases: list[str]) -> list[tuple[str, str]]:
    contract = manifest.contract
    labels, more = contract.labels[:_MOST_LABELS], len(contract.labels) - _MOST_LABELS
    return [
        ("model", manifest.name),
        ("version", str(manifest.version)),
        ("aliases", ", ".join(aliases) or "-"),
        ("made", manifest.created_at),
        ("sha256", manifest.sha256),
        ("size", f"{manifest.size_bytes} bytes"),
        *_format_rows(manifest),
        ("task", contract.task),
        (
            "labels",
            f"{len(contract.labels)}: {', '.join(labels)}"
            + (f", and {more} more (--json has all)" if more > 0 else ""),
        ),
        ("preprocessing", ", ".join(f"{key} {value}" for key, value in contract.preprocess)),
        ("golden", f"outputs within {manifest.golden_tolerance:g}"),
        ("exported by", f"{manifest.exported_by}, torch {manifest.torch_version}"),
        (
            "metrics",
            ", ".join(f"{key} {value:.6g}" for key, value in manifest.metrics.items()) or "-",
        ),
        (
            "reference",
            f"statistics of {manifest.reference.samples} held-out samples"
            if manifest.reference
            else "-",
        ),
        ("notes", ", ".join(f"{key} {value}" for key, value in manifest.notes.items()) or "-"),
    ]
