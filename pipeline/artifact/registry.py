"""The registry: ``<registry>/<model>/<version>/`` with a manifest written last, and aliases.

An alias is a small file ``<registry>/<model>/<alias>`` that holds a version number. Readers trust
names only: a folder with a number is a version once it has a manifest, a file whose name may be an
alias and whose whole content is a number is one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pipeline.artifact.artifact import Artifact, Draft
from pipeline.artifact.keys import SigningKey
from pipeline.artifact.manifest import (
    FORMAT_FILES,
    GOLDEN_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    Manifest,
)
from pipeline.artifact.names import (
    LATEST,
    check_alias,
    check_name,
    is_alias,
    is_name,
    version_of,
)
from pipeline.artifact.parse import MOST_MANIFEST_BYTES, parse_manifest
from pipeline.artifact.publish import alias_target, move_alias, publish_version
from pipeline.artifact.signature import (
    MOST_SIGNATURE_BYTES,
    NO_KEYS,
    SIGNATURE_FILE,
    TrustedKeys,
    sign,
)
from pipeline.artifact.storage import MOST_ALIAS_BYTES, Entry, open_storage
from pipeline.artifact.unpack import Files, unpack
from pipeline.config import ModelSettings
from pipeline.errors import ArtifactRefused
from pipeline.types import Format

_MOST_GOLDEN_BYTES = 1 << 30
"""Eight inputs of 4096x4096 pixels, the largest there are, are 400 MB. What others may write is
read only so far: a worker's memory doesn't depend on them."""


class Registry:
    """Models, versions and aliases behind a folder or an fsspec URL.

    Thread-safe: it holds no state but the storage. Every method may block on I/O, raises
    ``ConfigError`` for a name that can't be one, and ``ArtifactRefused`` with ``unreachable``
    where the registry isn't there or can't be read. With ``trusted`` keys it gives nothing of a
    version that none of them signed.
    """

    def __init__(self, url: str, trusted: TrustedKeys = NO_KEYS) -> None:
        """Reads nothing yet.

        Raises:
            ConfigError: the URL's protocol is unknown or needs a package that isn't installed, or
                it is a file's path.
        """
        self.url = url
        self._trusted = trusted
        self._storage = open_storage(url)

    @classmethod
    def of(cls, settings: ModelSettings) -> Registry:
        """The one that a worker with these settings reads.

        Raises:
            ConfigError: see ``__init__`` and ``TrustedKeys.of``.
        """
        return cls(settings.registry, TrustedKeys.of(settings.trusted_keys))

    def models(self) -> list[str]:
        """The names that have at least one complete version, sorted."""
        with self._reaching(""):
            names = [each.name for each in self._storage.entries("") if each.is_folder]
        return sorted(name for name in names if is_name(name) and self.versions(name))

    def versions(self, name: str) -> list[int]:
        """The complete versions, ascending; none for a model that isn't there."""
        numbers = sorted(
            number
            for each in self._entries(check_name(name))
            if each.is_folder and (number := version_of(each.name)) is not None
        )
        return [number for number in numbers if self._is_complete(name, number)]

    def aliases(self, name: str) -> dict[str, int]:
        """Every alias and the version it stands for, by name. Files without a number are none."""
        found = {}
        for each in self._entries(check_name(name)):
            if not each.is_folder and is_alias(each.name):
                with self._reaching(f"{name}/{each.name}"), contextlib.suppress(FileNotFoundError):
                    version = version_of(
                        _text(self._storage.read(f"{name}/{each.name}", MOST_ALIAS_BYTES))
                    )
                    if version is not None:
                        found[each.name] = version
        return dict(sorted(found.items()))

    def resolve(self, name: str, selector: str = "") -> int:
        """The version that ``selector`` stands for: a number, an alias, or ``""``.

        ``""`` is the alias ``latest`` or, where there is none, the highest complete version.

        Raises:
            ArtifactRefused: ``missing``; ``incomplete``; ``corrupt``: an alias without a number.
        """
        check_name(name)
        number = version_of(selector)
        if number is None:
            number = self._alias_target(name, check_alias(selector or LATEST))
        if number is None and not selector:
            number = max(self.versions(name), default=None)
        if number is None:
            raise self._missing(name, selector)
        if not self._is_complete(name, number):
            raise self._absent_version(name, number, selector)
        return number

    def manifest(self, name: str, version: int) -> Manifest:
        """A version's manifest, checked against its schema and its path.

        Raises:
            ArtifactRefused: ``missing``, ``incomplete``, ``untrusted``, ``corrupt``, or
                ``incompatible``: of a schema that this Headrace doesn't know.
        """
        return parse_manifest(self._manifest_file(name, version), name, version)

    def read(self, name: str, version: int) -> Artifact:
        """A version whose every byte was read once, hashed and found to be what was published.

        Raises:
            ArtifactRefused: as ``manifest``, and ``corrupt`` for a size, digest or golden vectors
                that don't agree with the manifest.
        """
        written = self._manifest_file(name, version)
        manifest = parse_manifest(written, name, version)
        model = self._read(name, version, MODEL_FILE, manifest.size_bytes)
        golden = self._read(name, version, GOLDEN_FILE, _MOST_GOLDEN_BYTES)
        formats: dict[Format, bytes] = {
            each: self._read(name, version, FORMAT_FILES[each], file.size_bytes)
            for each, file in manifest.formats.items()
        }
        return unpack(manifest, Files(written, model, golden, formats))

    def publish(
        self, draft: Draft, aliases: tuple[str, ...] = (LATEST,), key: SigningKey | None = None
    ) -> Manifest:
        """Makes a new version of ``draft``, signed by ``key``, and then moves ``aliases`` to it.

        A crash at any point leaves either nothing that a reader sees, or the whole version. An
        alias that already stands for a later version (of a faster publisher) stays there.

        Raises:
            ArtifactRefused: ``corrupt`` or ``incompatible``: the draft contradicts itself.
        """
        check_name(draft.name)
        for alias in aliases:
            check_alias(alias)
        try:
            return publish_version(self._storage, draft, aliases, key)
        except OSError as cause:
            raise self._unreachable(draft.name, cause) from cause

    def standing(self, name: str, alias: str) -> int:
        """The version that ``alias`` stands for, whole or not; 0 without one, or without a registry
        yet."""
        try:
            return alias_target(self._storage, check_name(name), check_alias(alias))
        except OSError as cause:
            raise self._unreachable(name, cause) from cause

    def advance(self, name: str, alias: str, version: int, since: int) -> int:
        """Moves ``alias`` forwards to a version that was just published, if it still stands for
        ``since`` (see ``standing``). Gives what it stands for then. Atomic and durable."""
        with self._reaching(f"{name}/{alias}"):
            return move_alias(self._storage, name, alias, version, only_forwards=True, since=since)

    def sign(self, artifact: Artifact, key: SigningKey) -> None:
        """Puts ``key``'s signature beside a version's manifest, in place of another's. What is
        signed is what was read: where the files have changed since, it is no signature of theirs.
        """
        what = f"{artifact.manifest.name}/{artifact.manifest.version}"
        with self._reaching(what):
            self._storage.write(f"{what}/{SIGNATURE_FILE}", sign(artifact.written, key))

    def is_signed(self, name: str, version: int) -> bool:
        """Whether there is a signature, whoever's it is."""
        return self._signature(name, version) is not None

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Lets ``alias`` stand for a complete version, forwards or back. Atomic and durable.

        Raises:
            ArtifactRefused: ``missing`` or ``incomplete``.
        """
        check_alias(alias)
        self.resolve(name, str(version))
        with self._reaching(f"{name}/{alias}"):
            move_alias(self._storage, name, alias, version)

    def _entries(self, name: str) -> list[Entry]:
        """What lies in a model's folder; nothing where only the model isn't there."""
        with self._reaching(name):
            try:
                return self._storage.entries(name)
            except (FileNotFoundError, NotADirectoryError):
                self._storage.entries("")  # raises where the whole registry isn't there
                return []

    def _is_complete(self, name: str, version: int) -> bool:
        with self._reaching(f"{name}@{version}"):
            try:
                inside = self._storage.entries(f"{name}/{version}")
            except (FileNotFoundError, NotADirectoryError):
                return False
        return any(each.name == MANIFEST_FILE for each in inside)

    def _alias_target(self, name: str, alias: str) -> int | None:
        with self._reaching(f"{name}@{alias}"):
            try:
                content = self._storage.read(f"{name}/{alias}", MOST_ALIAS_BYTES)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return None
        version = version_of(_text(content))
        if version is None:
            raise ArtifactRefused(
                "corrupt",
                f"the alias {alias!r} of {name!r} holds {content[:40]!r}, expected a version's "
                f"number: mend it with `headrace models promote {name}@VERSION --alias {alias}`",
            )
        return version

    def _read(self, name: str, version: int, file: str, most_bytes: int) -> bytes:
        with self._reaching(f"{name}@{version}"):
            try:
                return self._storage.read(f"{name}/{version}/{file}", most_bytes)
            except (FileNotFoundError, NotADirectoryError) as cause:
                if file == MANIFEST_FILE:
                    raise self._absent_version(name, version, "") from cause
                raise ArtifactRefused(
                    "incomplete",
                    f"{name}@{version} in {self.url} has no {file}: publish the model again",
                ) from cause

    def _manifest_file(self, name: str, version: int) -> bytes:
        """Its bytes, which a trusted key signed where there are any."""
        content = self._read(check_name(name), version, MANIFEST_FILE, MOST_MANIFEST_BYTES)
        if self._trusted:
            self._trusted.check(f"{name}@{version}", content, self._signature(name, version))
        return content

    def _signature(self, name: str, version: int) -> bytes | None:
        with self._reaching(f"{name}@{version}"):
            try:
                path = f"{name}/{version}/{SIGNATURE_FILE}"
                return self._storage.read(path, MOST_SIGNATURE_BYTES)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return None

    def _absent_version(self, name: str, version: int, selector: str) -> ArtifactRefused:
        """``incomplete`` where a version's folder has no manifest, ``missing`` without a folder."""
        if any(each.name == str(version) and each.is_folder for each in self._entries(name)):
            return ArtifactRefused(
                "incomplete",
                f"{name}@{version} in {self.url} has no {MANIFEST_FILE}: its publisher is still at "
                f"work or was interrupted; take another version",
            )
        return self._missing(name, selector or str(version))

    def _missing(self, name: str, selector: str) -> ArtifactRefused:
        versions = self.versions(name)
        if not versions:
            there = f"there are: {', '.join(self.models()) or 'none'}"
            return ArtifactRefused(
                "missing",
                f"no model {name!r} in {self.url} ({there}): make one with `headrace train "
                f"--publish {name} --registry {self.url}` or `headrace publish`",
            )
        known = [*(str(each) for each in versions[-10:]), *self.aliases(name)]
        return ArtifactRefused(
            "missing",
            f"no {name}@{selector or LATEST} in {self.url}, expected one of {', '.join(known)}",
        )

    @contextlib.contextmanager
    def _reaching(self, what: str) -> Iterator[None]:
        """Translates what the storage raises and nobody took."""
        try:
            yield
        except (FileNotFoundError, NotADirectoryError) as cause:
            raise ArtifactRefused(
                "unreachable",
                f"there is no registry at {self.url}: `headrace train "
                f"--publish NAME --registry {self.url}` or `headrace publish` make one",
            ) from cause
        except OSError as cause:
            raise self._unreachable(what, cause) from cause

    def _unreachable(self, what: str, cause: OSError) -> ArtifactRefused:
        return ArtifactRefused(
            "unreachable",
            f"{what or 'the list of models'} in the registry {self.url} can't be reached "
            f"({cause}): check the path, its permissions, free space and the network",
        )


def _text(content: bytes) -> str:
    """An alias file's content without its line end; what isn't ASCII is no number either."""
    return content.decode("ascii", "replace").strip()
