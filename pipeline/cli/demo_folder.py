"""The demo's folder: removed by the demo, or by the next one where it was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PREFIX = "headrace-demo-"
_LOCK_FILE = "in-use"


@dataclass(frozen=True, slots=True)
class DemoFolder:
    """A folder of one demo alone. A child that writes into it inherits ``lock_fd``: the folder
    counts as used until all who have that descriptor are gone."""

    path: Path
    lock_fd: int


@contextlib.contextmanager
def demo_folder(root: Path) -> Iterator[DemoFolder]:
    """Makes a folder in ``root``, that of temporary files; removes it at the end. Before that it
    removes those of demos that were killed."""
    _remove_leftovers(root)
    path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
    lock_fd = _lock(path)
    try:
        yield DemoFolder(path, lock_fd)
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock_fd)


def _lock(folder: Path) -> int:
    """Locks it for as long as the descriptor is open somewhere: the kernel notices every death."""
    unseen = folder / f"{_LOCK_FILE}.new"
    descriptor = os.open(unseen, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    # Named when it is locked: another demo that starts now never sees it without.
    unseen.rename(folder / _LOCK_FILE)
    return descriptor


def _remove_leftovers(root: Path) -> None:
    for folder in root.glob(f"{_PREFIX}*"):
        # Others may write among temporary files too: only a real folder of this user is looked at,
        # and only one whose lock nobody holds goes.
        with contextlib.suppress(OSError):
            seen = folder.lstat()
            if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid():
                continue
            descriptor = os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)
