"""``headrace models sign|promote|rollback``: which version workers take, and by whose word."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.artifact.names import COPY_NOTE
from pipeline.cli.model_parts import (
    AsJson,
    Model,
    RegistryUrl,
    open_registry,
    resolve,
    say,
    verified,
)
from pipeline.cli.terminal import say as warn

if TYPE_CHECKING:
    from pipeline.artifact.keys import SigningKey
    from pipeline.artifact.registry import Registry

SignWith = Annotated[
    Path | None,
    typer.Option(
        "--sign", metavar="KEY", help="Sign it with this private key, for workers that trust it."
    ),
]


def sign(
    model: Model,
    key: Annotated[Path, typer.Option(metavar="FILE", help="The private key.")],
    registry: RegistryUrl = "registry",
    as_json: AsJson = False,
) -> None:
    """Verify a version, then put a signature beside its manifest, in place of another's."""
    from pipeline.artifact.keys import SigningKey

    signs = SigningKey.read(key)
    there = open_registry(registry)
    name, version = resolve(there, model)
    artifact = verified(there, name, version)
    there.sign(artifact, signs)
    sha256 = artifact.manifest.sha256
    say(
        as_json,
        {"name": name, "version": version, "sha256": sha256, "key": str(signs.public)},
        f"{name}@{version}, sha256 {sha256}, is signed by {signs.public}",
    )


def promote(
    model: Model,
    alias: Annotated[str, typer.Option(help="The alias that moves, such as prod.")],
    sign_with: SignWith = None,
    registry: RegistryUrl = "registry",
    as_json: AsJson = False,
) -> None:
    """Verify a version, then let an alias stand for it. Workers that follow the alias swap.

    Workers with trusted keys take no older version than they took. With --sign an older one's
    bytes are published anew, if this key signed them.
    """
    from pipeline.artifact.names import check_alias

    check_alias(alias)
    key, there = _opened(registry, sign_with)
    name, version = resolve(there, model)
    _move(there, name, alias, version, key, as_json)


def rollback(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which model.")],
    alias: Annotated[str, typer.Option(help="The alias that moves back.")] = "latest",
    sign_with: SignWith = None,
    registry: RegistryUrl = "registry",
    as_json: AsJson = False,
) -> None:
    """Verify the next lower version with the same contract, then move the alias to it.

    Workers with trusted keys take no older version. With --sign its bytes are published anew, as
    a version that they take, if this key signed them.
    """
    from pipeline.artifact.names import check_alias
    from pipeline.errors import ArtifactRefused

    check_alias(alias)
    key, there = _opened(registry, sign_with)
    now = there.aliases(name).get(alias)
    if now is None:
        there.resolve(name)  # says where the model itself is what's missing
        raise ArtifactRefused(
            "missing", f"{name!r} has no alias {alias!r}, expected one of {_known(there, name)}"
        )
    original = _original(there, name, now)
    lower = [version for version in there.versions(name) if version < original]
    lower = [version for version in lower if _keeps_contract(there, name, version, now)]
    if not lower:
        raise ArtifactRefused(
            "missing",
            f"{alias!r} of {name!r} is at {now}, and there is no lower complete version with its "
            "contract (labels, task, preprocessing), which running workers hold on to",
        )
    _move(there, name, alias, lower[-1], key, as_json)


def _opened(registry: str, key: Path | None) -> tuple[SigningKey | None, Registry]:
    """With a key, the registry gives only what this key signed: what is published anew gets its
    signature, and so must have had it."""
    from pipeline.artifact.keys import SigningKey

    signs = None if key is None else SigningKey.read(key)
    return signs, open_registry(registry, [] if signs is None else [str(signs.public)])


def _original(there: Registry, name: str, version: int) -> int:
    """Which version this one is a copy of in the end, or itself: further back is below that."""
    from pipeline.artifact.names import version_of
    from pipeline.errors import ArtifactRefused

    try:
        while (copied := version_of(there.manifest(name, version).notes.get(COPY_NOTE, ""))) and (
            copied < version
        ):
            version = copied
    except ArtifactRefused:
        return version
    return version


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


def _move(
    there: Registry, name: str, alias: str, version: int, key: SigningKey | None, as_json: bool
) -> None:
    """Forwards or back; for workers with trusted keys, back is forwards to a copy."""
    from pipeline.artifact.artifact import Draft

    before = there.aliases(name).get(alias)
    artifact = verified(there, name, version)
    goes_back = before is not None and version < before
    now = version
    if key is not None and version < max(there.versions(name)):
        now = there.publish(Draft.again(artifact), (alias,), key).version
    else:
        there.set_alias(name, alias, version)
    if key is None and goes_back and there.is_signed(name, version):
        warn(
            f"workers with trusted keys refuse {name}@{version} as older than what they took:"
            " --sign KEY publishes it anew for them"
        )
    was = f"it was {before}" if before is not None else "a new alias"
    copied = "" if now == version else f", the bytes of {version} again"
    say(
        as_json,
        {"name": name, "alias": alias, "version": now, "previous": before}
        | ({} if now == version else {"copy_of_version": version}),
        f"{name}@{alias} is now version {now}{copied} ({was})",
    )


def _known(there: Registry, name: str) -> str:
    return ", ".join(there.aliases(name)) or "none"
