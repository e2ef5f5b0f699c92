"""The model that a worker was told to run: where it is, and which of its versions may be taken."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from pipeline.artifact.artifact import Artifact
from pipeline.artifact.manifest import Manifest
from pipeline.artifact.names import parse_model, version_of
from pipeline.artifact.quarantine import Quarantine
from pipeline.artifact.registry import Registry
from pipeline.artifact.sequence import Sequence
from pipeline.artifact.verify import check_compatible
from pipeline.config import ModelSettings
from pipeline.errors import ArtifactRefused

log = logging.getLogger(__name__)

_MOST_READ = 10
"""Versions below a refused one that are read whole when a worker starts. Of the others a look at
the manifest says enough."""


@dataclass(frozen=True, slots=True)
class Followed:
    """``name`` and what stands after its ``@``. ``sequence`` is there where an alias is followed
    and only signed versions are taken; a version that was named by its number is what was meant.
    ``quarantine`` holds what was refused for what it is.

    Owned by: the thread that makes models ready.
    """

    registry: Registry
    name: str
    selector: str
    quarantine: Quarantine
    sequence: Sequence | None = None

    @classmethod
    def of(cls, settings: ModelSettings) -> Followed:
        """After the settings; the registry isn't read yet.

        Raises:
            ConfigError: a name, key or folder in them can't be one.
        """
        name, selector = parse_model(settings.name)
        is_guarded = bool(settings.trusted_keys) and version_of(selector) is None
        sequence = Sequence(settings.state_folder, name, selector) if is_guarded else None
        quarantine = Quarantine(settings.state_folder, name)
        return cls(Registry.of(settings), name, selector, quarantine, sequence)

    @property
    def is_alias(self) -> bool:
        """Whether there may be another version behind it one day."""
        return version_of(self.selector) is None

    def version(self) -> int:
        """The version that it stands for now.

        Raises:
            ArtifactRefused: see ``Registry.resolve``.
        """
        return self.registry.resolve(self.name, self.selector)

    def read(self, version: int) -> Artifact:
        """That version, whole.

        Raises:
            ArtifactRefused: see ``Registry.read``; ``replayed``: a newer one was taken before.
        """
        artifact = self.registry.read(self.name, version)
        self.check(artifact.manifest)
        return artifact

    def first(self) -> Artifact:
        """The version to begin with: the one that it stands for now. Where that is an alias and the
        version was refused before, the newest one below that wasn't and has the same contract.
        The alias's own version must be no older than one that was taken; what is below must only be
        signed, where that is asked for.

        Raises:
            ArtifactRefused: see ``read``; ``quarantined``: there is none.
        """
        artifact = self.read(self.version())
        manifest = artifact.manifest
        why = self.quarantine.why(manifest.content)
        if not why or not self.is_alias:
            return artifact
        what = f"{self.name}@{manifest.version} was refused before ({why})"
        if below := self._below(manifest):
            log.warning("%s: version %d scores in its place", what, below.manifest.version)
            return below
        raise ArtifactRefused(
            "quarantined",
            f"{what}, and no version below it can take its place: move the alias to a good one, or "
            "delete what is said of it there",
        )

    def _below(self, refused: Manifest) -> Artifact | None:
        """What may score in its place. It is older than what was taken, as with a rollback, so the
        sequence isn't asked: the alias's own version has passed it. Signed it must be."""
        lower = [each for each in self.registry.versions(self.name) if each < refused.version]
        read = 0
        for version in sorted(lower, reverse=True):
            try:
                if not self._may_replace(self.registry.manifest(self.name, version), refused):
                    continue
                read += 1
                below = self.registry.read(self.name, version)
                if self._may_replace(below.manifest, refused):  # it was read anew
                    return below
            except ArtifactRefused as error:
                log.warning("%s@%d can't take its place: %s", self.name, version, error)
            if read >= _MOST_READ:
                break
        return None

    def _may_replace(self, manifest: Manifest, refused: Manifest) -> bool:
        """Whether it wasn't refused itself.

        Raises:
            ArtifactRefused: ``incompatible``: it has another contract.
        """
        if self.quarantine.why(manifest.content):
            return False
        check_compatible(manifest.contract, refused.contract)
        return True

    def check(self, manifest: Manifest) -> None:
        """Checks that no newer version was taken before.

        Raises:
            ArtifactRefused: ``replayed``.
        """
        if self.sequence is not None:
            self.sequence.check(manifest)

    def prepare(self) -> None:
        """Makes ready to remember what is taken and what is refused.

        Raises:
            ConfigError: the folder for it can't be made or written.
        """
        self.quarantine.prepare()
        if self.sequence is not None:
            self.sequence.prepare()

    def took(self, version: int) -> None:
        """It scores: no older one is taken from now on."""
        if self.sequence is not None:
            self.sequence.note(version)
