"""Where a registry's bytes lie: a folder, or an object store behind fsspec."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from pipeline.errors import ConfigError

CLAIM_FILE = "claim"
MOST_ALIAS_BYTES = 64
"""A version's number and a line end, with room for a hand that wrote it."""
_LOCK_FILE = ".lock"
_WRITING = ".writing-"
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a folder."""

    name: str
    is_folder: bool


class Storage(Protocol):
    """Files by their path below a root, ``/`` between the parts. Thread-safe.

    All of it raises ``OSError``; a path that isn't there is a ``FileNotFoundError``.
    """

    def entries(self, folder: str) -> list[Entry]:
        """What lies in a folder, in no order; ``""`` is the root."""
        ...

    def read(self, path: str, most_bytes: int) -> bytes:
        """A file's whole content, read once; of a longer one, ``most_bytes`` and one byte more.

        What isn't an ordinary file (a device, a pipe) isn't there: it could be without an end.
        """
        ...

    def write(self, path: str, content: bytes) -> None:
        """Writes or replaces a file: durable when this returns, and never seen in part."""
        ...

    def claim(self, folder: str) -> bool:
        """Makes a folder, and its parents; False where somebody else has made it before."""
        ...

    def locked(self, folder: str) -> AbstractContextManager[None]:
        """Keeps other writers away from the files right in a folder, as far as the storage can.

        A writer's death lets go of it.
        """
        ...


def open_storage(url: str) -> Storage:
    """The storage behind a folder's path or an fsspec URL. Nothing is created or read.

    Raises:
        ConfigError: the URL's protocol is unknown, its package isn't installed, or the path is that
            of a file.
    """
    if not url:
        raise ConfigError(
            "the registry's URL is empty, expected a folder or a URL: give --registry"
        )
    protocol = url.partition("://")[0]
    try:
        filesystem, root = url_to_fs(url)
    except ImportError as cause:
        extra = _EXTRAS.get(protocol)
        remedy = f"pip install 'headrace[{extra}]'" if extra else "install the package it names"
        raise ConfigError(
            f"the registry {url!r} needs a package that isn't installed ({cause}): {remedy}"
        ) from cause
    except ValueError as cause:
        raise ConfigError(
            f"the registry is {url!r}, expected a folder or an fsspec URL (s3://…, gs://…): {cause}"
        ) from cause
    if isinstance(filesystem, LocalFileSystem):
        root = Path(str(root))
        _check_no_file(root, url)
        return LocalStorage(root)
    return ObjectStorage(filesystem, str(root))


def _check_no_file(root: Path, url: str) -> None:
    """A folder that isn't there yet can be made by a publisher; one at or below a file never can.

    What else is wrong with the path is said by the first call that uses it.
    """
    try:
        is_file = not stat.S_ISDIR(root.stat().st_mode)
    except NotADirectoryError:
        is_file = True
    except OSError:
        return
    if is_file:
        raise ConfigError(
            f"the registry {url!r} is a file or lies below one, expected a folder: give another "
            "--registry"
        )


class LocalStorage:
    """A folder. Safe among threads and processes: ``mkdir``, ``rename`` and ``flock`` decide."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def entries(self, folder: str) -> list[Entry]:
        """See ``Storage.entries``."""
        with os.scandir(self._root / folder) as found:
            # DirEntry.is_dir raises for a link in a circle, and would hide all the others.
            return [Entry(each.name, Path(each.path).is_dir()) for each in found]

    def read(self, path: str, most_bytes: int) -> bytes:
        """See ``Storage.read``."""
        with io.FileIO(self._root / path, opener=_without_waiting) as file:
            seen = os.fstat(file.fileno())
            if not stat.S_ISREG(seen.st_mode):
                raise FileNotFoundError(errno.ENOENT, "not an ordinary file", path)
            with io.BufferedReader(file) as reader:
                # A buffer of what is asked for is made first: ask for no more than is there.
                return reader.read(min(seen.st_size, most_bytes) + 1)

    def write(self, path: str, content: bytes) -> None:
        """Writes beside the target, then renames over it: a rename is atomic within a folder."""
        target = self._root / path
        descriptor, beside = tempfile.mkstemp(prefix=_WRITING, dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                # mkstemp makes it private; a registry is read by other users' workers.
                os.fchmod(file.fileno(), 0o644)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(beside).replace(target)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)

    def claim(self, folder: str) -> bool:
        """See ``Storage.claim``."""
        target = self._root / folder
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.mkdir()
        except FileExistsError:
            return False
        # The number must still be taken after a power cut, and the model's own folder be there.
        _sync_folder(target.parent)
        _sync_folder(target.parent.parent)
        return True

    @contextlib.contextmanager
    def locked(self, folder: str) -> Iterator[None]:
        """See ``Storage.locked``. The kernel lets go of it when the process dies.

        Clears away what writers left that died in the middle: under the lock nobody else writes.
        """
        with (self._root / folder / _LOCK_FILE).open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            for left in (self._root / folder).glob(f"{_WRITING}*"):
                left.unlink(missing_ok=True)
            yield


def _without_waiting(path: str, flags: int) -> int:
    """Opens a pipe at once, too: else it would wait for somebody who writes to it."""
    try:
        return os.open(path, flags | os.O_NONBLOCK)
    except OSError as cause:
        if cause.errno == errno.ELOOP:
            raise FileNotFoundError(errno.ENOENT, "a link in a circle", path) from cause
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class ObjectStorage:
    """A bucket, or memory. A put is atomic there and durable when it returns. Thread-safe.

    Folders don't exist in object stores: a version is claimed by the exclusive creation of a small
    object in it, which is as exclusive as the store's own conditional put.
    """

    def __init__(self, filesystem: fsspec.AbstractFileSystem, root: str) -> None:
        self._filesystem = filesystem
        self._root = root.rstrip("/")
        self._lock = threading.RLock()

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    def entries(self, folder: str) -> list[Entry]:
        """See ``Storage.entries``. Never a cached listing: it would hide new versions."""
        path = self._path(folder)
        self._filesystem.invalidate_cache(path)
        found = self._filesystem.ls(path, detail=True)
        return [
            Entry(str(each["name"]).rstrip("/").rpartition("/")[2], each["type"] == "directory")
            for each in found
        ]

    def read(self, path: str, most_bytes: int) -> bytes:
        """See ``Storage.read``."""
        content = self._filesystem.cat_file(self._path(path), end=most_bytes + 1)
        return content.encode() if isinstance(content, str) else content

    def write(self, path: str, content: bytes) -> None:
        """One put."""
        self._filesystem.pipe_file(self._path(path), content)

    def claim(self, folder: str) -> bool:
        """See ``Storage.claim``."""
        with self._lock:
            try:
                self._filesystem.pipe_file(
                    self._path(f"{folder}/{CLAIM_FILE}"), b"claimed\n", mode="create"
                )
            except FileExistsError:
                return False
            return True

    @contextlib.contextmanager
    def locked(self, folder: str) -> Iterator[None]:
        """Keeps away this process's threads only: object stores have no locks."""
        del folder
        with self._lock:
            yield
