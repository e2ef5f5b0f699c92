"""The model that a worker was told to run: where it is, and which of its versions may be taken."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.artifact.artifact import Artifact
from pipeline.artifact.manifest import Manifest
from pipeline.artifact.names import parse_model, version_of
from pipeline.artifact.registry import Registry
from pipeline.artifact.sequence import Sequence
from pipeline.config import ModelSettings


@dataclass(frozen=True, slots=True)
class Followed:
    """``name`` and what stands after its ``@``. ``sequence`` is there where an alias is followed
    and only signed versions are taken; a version that was named by its number is what was meant.

    Owned by: the thread that makes models ready.
    """

    registry: Registry
    name: str
    selector: str
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
        return cls(Registry.of(settings), name, selector, sequence)

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

    def check(self, manifest: Manifest) -> None:
        """Checks that no newer version was taken before.

        Raises:
            ArtifactRefused: ``replayed``.
        """
        if self.sequence is not None:
            self.sequence.check(manifest)

    def prepare(self) -> None:
        """Makes ready to remember what is taken.

        Raises:
            ConfigError: the folder for it can't be made or written.
        """
        if self.sequence is not None:
            self.sequence.prepare()

    def took(self, version: int) -> None:
        """It scores: no older one is taken from now on."""
        if self.sequence is not None:
            self.sequence.note(version)
