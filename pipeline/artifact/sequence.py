"""The newest signed version that was taken: an older one isn't taken after it.

A signature is good for ever. Who may write to a registry but has no key could let an alias stand
for a version of last year, with its signature and its faults. Versions only rise and stand in what
is signed, so a worker that remembers the newest knows an older one.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from pipeline.artifact.manifest import Manifest
from pipeline.artifact.names import LATEST, version_of
from pipeline.artifact.storage import MOST_ALIAS_BYTES, LocalStorage
from pipeline.errors import ArtifactRefused, ConfigError

log = logging.getLogger(__name__)


class Sequence:
    """Of one model's alias. Without a ``folder`` it is remembered in this process alone.

    The folder is one registry's; several workers may share it. Owned by: the thread that makes
    models ready.
    """

    def __init__(self, folder: str, name: str, selector: str) -> None:
        """Reads what is remembered.

        Raises:
            ConfigError: the folder can't be read, or its file holds no number.
        """
        self._alias = f"{name}@{selector or LATEST}"
        self._folder = Path(folder) if folder else None
        self._newest = 0
        if self._folder is None:
            return
        self._storage = LocalStorage(self._folder)
        with _translated(self._folder):
            self._newest = self._kept()

    def prepare(self) -> None:
        """Makes the folder: what can't be written later is better known now.

        Raises:
            ConfigError: it can't be made or written.
        """
        if self._folder is None:
            return
        with _translated(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._storage.locked(""):
                self._newest = self._kept()

    def check(self, manifest: Manifest) -> None:
        """Checks that no newer version was taken before.

        Raises:
            ArtifactRefused: ``replayed``.
        """
        if self._folder is not None:
            with _translated(self._folder):
                self._newest = max(self._newest, self._kept())  # others may have gone further
        if manifest.version >= self._newest:
            return
        where = f", as {self._folder / self._alias} says" if self._folder else ""
        raise ArtifactRefused(
            "replayed",
            f"{self._alias} stands for version {manifest.version}, but {self._newest} was taken "
            f"before{where}: signed models only go forwards. To go back, `headrace models promote "
            f"{manifest.name}@{manifest.version} --sign KEY` publishes it anew.",
        )

    def note(self, version: int) -> None:
        """This version was taken. Where that can't be written down, it is known in this process."""
        if version <= self._newest:
            return
        self._newest = version
        if self._folder is None:
            return
        try:
            with _translated(self._folder):
                self._keep(version)
        except ConfigError as error:
            log.error("%s@%d was taken, but that isn't kept: %s", self._alias, version, error)

    def _kept(self) -> int:
        try:
            content = self._storage.read(self._alias, MOST_ALIAS_BYTES)
        except FileNotFoundError:
            return 0
        text = content.decode("ascii", "replace").strip()
        number = version_of(text)
        if number is None:
            raise ConfigError(
                f"{self._folder}/{self._alias} holds {content[:40]!r}, expected the number of the "
                "newest version taken: write it there, or delete the file to begin anew"
            )
        return number

    def _keep(self, version: int) -> None:
        """Another worker may have gone further meanwhile."""
        with self._storage.locked(""):
            newest = max(version, self._kept())
            self._storage.write(self._alias, f"{newest}\n".encode())


@contextlib.contextmanager
def _translated(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as cause:
        raise ConfigError(
            f"model.state_folder {folder} can't be used ({cause.strerror}): it keeps the newest "
            "version taken, so that an older one isn't; give a folder that can be written"
        ) from cause
