"""``headrace models``: what a registry holds, whether it is sound, and which version is used."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.tables import print_fields, print_lines

if TYPE_CHECKING:
    from pipeline.artifact.artifact import Artifact
    from pipeline.artifact.manifest import Manifest
    from pipeline.artifact.registry import Registry

_MOST_LABELS = 20

app = typer.Typer(
    help="List, show, verify, promote and roll back the models of a registry.",
    no_args_is_help=True,
    add_completion=False,
)

RegistryUrl = Annotated[
    str,
    typer.Option(envvar="HEADRACE_MODEL__REGISTRY", help="Folder or fsspec URL of the registry."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Model = Annotated[str, typer.Argument(metavar="NAME[@VERSION or @ALIAS]", help="Which model.")]


@app.command("list")
def list_models(registry: RegistryUrl = "registry", as_json: AsJson = False) -> None:
    """List every model and version, and the aliases that stand for them."""
    there = _open(registry)
    found = [_summary(there, name) for name in there.models()]
    if as_json:
        _print_json(found)
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
    """Show a version's manifest: contract, digests, metrics."""
    there = _open(registry)
    name, version = _resolve(there, model)
    manifest = there.manifest(name, version)
    aliases = _aliases_of(there, name, version)
    if as_json:
        _print_json(manifest.model_dump(mode="json", by_alias=True) | {"aliases": aliases})
        return
    print_fields(_manifest_rows(manifest, aliases))


@app.command()
def verify(model: Model, registry: RegistryUrl = "registry", as_json: AsJson = False) -> None:
    """Read and hash every byte of a version, load it and run its golden inputs, on the CPU."""
    there = _open(registry)
    artifact = _verified(there, *_resolve(there, model))
    manifest = artifact.manifest
    vectors = len(artifact.golden.inputs_nhwc)
    done = {"name": manifest.name, "version": manifest.version, "sha256": manifest.sha256}
    _say(
        as_json,
        done | {"golden": vectors, "verified": True},
        f"{manifest.name}@{manifest.version} is sound: {manifest.size_bytes} bytes hashed, "
        f"{vectors} golden inputs within {manifest.golden_tolerance:g}",
    )


@app.command()
def promote(
    model: Model,
    alias: Annotated[str, typer.Option(help="The alias that moves, such as prod.")],
    registry: RegistryUrl = "registry",
    as_json: AsJson = False,
) -> None:
    """Verify a version, then let an alias stand for it. Workers that follow the alias swap."""
    from pipeline.artifact.names import check_alias

    check_alias(alias)
    there = _open(registry)
    name, version = _resolve(there, model)
    _move(there, name, alias, version, as_json)


@app.command()
def rollback(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which model.")],
    alias: Annotated[str, typer.Option(help="The alias that moves back.")] = "latest",
    registry: RegistryUrl = "registry",
    as_json: AsJson = False,
) -> None:
    """Verify the next lower version with the same contract, then move the alias to it."""
    from pipeline.artifact.names import check_alias
    from pipeline.errors import ArtifactRefused

    check_alias(alias)
    there = _open(registry)
    now = there.aliases(name).get(alias)
    if now is None:
        there.resolve(name)  # says where the model itself is what's missing
        raise ArtifactRefused(
            "missing", f"{name!r} has no alias {alias!r}, expected one of {_known(there, name)}"
        )
    lower = [version for version in there.versions(name) if version < now]
    lower = [version for version in lower if _keeps_contract(there, name, version, now)]
    if not lower:
        raise ArtifactRefused(
            "missing",
            f"{alias!r} of {name!r} is at {now}, and there is no lower complete version with its "
            "contract (labels, task, preprocessing), which running workers hold on to",
        )
    _move(there, name, alias, lower[-1], as_json)


def _keeps_contract(there: Registry, name: str, version: int, now: int) -> bool:
    """Whether workers that run ``now`` would take ``version``."""
    from pipeline.artifact.verify import check_compatible
    from pipeline.errors import ArtifactRefused

    try:
        wanted = there.manifest(name, now).contract
        check_compatible(there.manifest(name, version).contract, wanted)
    except ArtifactRefused:
        return False
    return True


def _open(url: str) -> Registry:
    from pipeline.artifact.registry import Registry

    return Registry(url)


def _resolve(there: Registry, model: str) -> tuple[str, int]:
    from pipeline.artifact.names import parse_model

    name, selector = parse_model(model)
    return name, there.resolve(name, selector)


def _verified(there: Registry, name: str, version: int) -> Artifact:
    from pipeline.artifact.verify import check_golden
    from pipeline.engine.torchscript import load_torchscript

    artifact = there.read(name, version)
    engine = load_torchscript(artifact.model, device="cpu")
    try:
        check_golden(engine, artifact)
    finally:
        engine.close()
    return artifact


def _move(there: Registry, name: str, alias: str, version: int, as_json: bool) -> None:
    before = there.aliases(name).get(alias)
    _verified(there, name, version)
    there.set_alias(name, alias, version)
    was = f"it was {before}" if before is not None else "a new alias"
    _say(
        as_json,
        {"name": name, "alias": alias, "version": version, "previous": before},
        f"{name}@{alias} is now version {version} ({was})",
    )


def _known(there: Registry, name: str) -> str:
    return ", ".join(there.aliases(name)) or "none"


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
        ("notes", ", ".join(f"{key} {value}" for key, value in manifest.notes.items()) or "-"),
    ]


def _say(as_json: bool, document: dict[str, Any], line: str) -> None:
    if as_json:
        _print_json(document)
    else:
        typer.echo(line)


def _print_json(document: object) -> None:
    typer.echo(json.dumps(document, ensure_ascii=False))
