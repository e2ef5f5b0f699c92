"""A file with one JSON object a line, and standard output."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.errors import ConfigError, SinkUnavailable, StageFailed
from pipeline.types import Outcome

log = logging.getLogger(__name__)

_TAIL_BYTES = 1 << 16
_OUR_ROWS = b'{"schema":"headrace.'
"""How every row of ours begins; a torn one may be shorter than that."""


class JsonlSink:
    """Appends a row for each outcome. A row is durable once the operating system has it: it
    outlives the process, and from ``close`` on a power cut as well. See ``Sink``.

    A write that fails half-way (a full disk) is taken back, so rows are never torn or doubled; a
    torn last row that a killed process left is cut off on opening. Both need the file for
    themselves, so it is locked, and another writer is refused. ``encode`` gives a row with its
    newline. With ``is_lazy`` the file is made by the first row.

    Owned by: the sink thread.
    """

    def __init__(
        self, path: Path, encode: Callable[[Outcome], bytes], *, is_lazy: bool = False
    ) -> None:
        self._path = path
        self._encode = encode
        self._is_lazy = is_lazy
        self._fd: int | None = None
        self._written: list[Outcome] = []

    @property
    def name(self) -> str:
        """See ``Sink.name``."""
        return f"jsonl:{self._path}"

    def open(self) -> None:
        """See ``Sink.open``."""
        folder = self._path.absolute().parent
        if not folder.is_dir():
            raise ConfigError(f"{self.name}: there is no folder {folder}; make it first")
        if self._path.is_dir():
            raise ConfigError(f"{self.name} is a folder, expected a file's path")
        if self._is_lazy:
            return
        try:
            self._open_file()
        except SinkUnavailable as cause:
            raise SinkUnavailable(f"{self.name} can't be opened: {cause}") from cause

    def write(self, outcomes: Sequence[Outcome]) -> None:
        """See ``Sink.write``."""
        fd = self._open_file() if self._fd is None else self._fd
        rows = b"".join([self._encode(outcome) for outcome in outcomes])
        is_file = stat.S_ISREG(os.fstat(fd).st_mode)
        size_before = os.fstat(fd).st_size
        try:
            _write_all(fd, rows)
        except OSError as cause:
            if is_file:
                with contextlib.suppress(OSError):
                    os.ftruncate(fd, size_before)
            if isinstance(cause, BrokenPipeError):
                self.close()  # what a reader had of a torn row went with it
                raise SinkUnavailable("the pipe's reader is gone") from cause
            raise SinkUnavailable(f"{cause.strerror} (free some space?)") from cause
        self._written.extend(outcomes)

    def collect(self, timeout_s: float) -> Sequence[Outcome]:
        """See ``Sink.collect``."""
        written, self._written = self._written, []
        return written

    def close(self) -> None:
        """See ``Sink.close``."""
        fd, self._fd = self._fd, None
        if fd is not None:
            with contextlib.suppress(OSError):  # a pipe or device has nothing to sync
                os.fsync(fd)
            os.close(fd)

    def _open_file(self) -> int:
        try:
            self._fd = _open_fifo(self._path) if self._path.is_fifo() else _open_regular(self._path)
        except PermissionError as cause:
            raise ConfigError(f"{self.name}: not allowed to write there") from cause
        except OSError as cause:
            raise SinkUnavailable(f"{cause.strerror}") from cause
        if stat.S_ISREG(os.fstat(self._fd).st_mode):
            self._lock(self._fd)
            _cut_torn_row(self._fd)
        return self._fd

    def _lock(self, fd: int) -> None:
        """Until it is closed; the kernel lets go of it when the process dies."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as cause:
            self.close()
            raise ConfigError(
                f"{self.name} is being written by another worker, or another sink of this one: "
                "give each a file of its own"
            ) from cause
        except OSError as cause:  # some network file systems have no locks
            log.debug("%s can't be locked: %s", self.name, cause)


class StdoutSink:
    """Writes a row for each outcome to a stream's descriptor, standard output by default.

    Owned by: the sink thread.
    """

    name = "stdout:"

    def __init__(self, encode: Callable[[Outcome], bytes], fd: int = 1) -> None:
        self._encode = encode
        self._fd = fd
        self._written: list[Outcome] = []

    def open(self) -> None:
        """See ``Sink.open``."""

    def write(self, outcomes: Sequence[Outcome]) -> None:
        """See ``Sink.write``.

        Raises:
            StageFailed: the reader at the other end of the pipe is gone.
        """
        try:
            _write_all(self._fd, b"".join([self._encode(outcome) for outcome in outcomes]))
        except BrokenPipeError as cause:
            raise StageFailed("standard output was closed by its reader") from cause
        except OSError as cause:
            raise StageFailed(f"standard output can't be written: {cause.strerror}") from cause
        self._written.extend(outcomes)

    def collect(self, timeout_s: float) -> Sequence[Outcome]:
        """See ``Sink.collect``."""
        written, self._written = self._written, []
        return written

    def close(self) -> None:
        """See ``Sink.close``."""


class NullSink:
    """Takes everything and keeps nothing. Owned by: the sink thread."""

    name = "null:"

    def __init__(self) -> None:
        self._written: list[Outcome] = []

    def open(self) -> None:
        """See ``Sink.open``."""

    def write(self, outcomes: Sequence[Outcome]) -> None:
        """See ``Sink.write``."""
        self._written.extend(outcomes)

    def collect(self, timeout_s: float) -> Sequence[Outcome]:
        """See ``Sink.collect``."""
        written, self._written = self._written, []
        return written

    def close(self) -> None:
        """See ``Sink.close``."""


def _open_regular(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)


def _open_fifo(path: Path) -> int:
    """For writing alone: a pipe that we could read ourselves never tells that its reader is gone.

    Raises:
        SinkUnavailable: nobody reads it. Without ``O_NONBLOCK`` opening would wait for a reader.
    """
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as cause:
        if cause.errno == errno.ENXIO:
            raise SinkUnavailable("nobody reads the pipe; start its reader first") from cause
        raise
    os.set_blocking(fd, True)  # a reader that is slow is waited for
    return fd


def _write_all(fd: int, rows: bytes) -> None:
    """``os.write`` may take only a part, as on a disk that is getting full."""
    left = memoryview(rows)
    while left:
        left = left[os.write(fd, left) :]


def _cut_torn_row(fd: int) -> None:
    """Removes what stands behind the last newline: a row that was never acknowledged."""
    size = os.fstat(fd).st_size
    row_starts = _last_row_start(fd, size)
    if row_starts == size:
        return
    opening = os.pread(fd, min(len(_OUR_ROWS), size - row_starts), row_starts)
    if _OUR_ROWS.startswith(opening):
        os.ftruncate(fd, row_starts)
    else:  # not ours: keep it, and begin on a line of our own
        _write_all(fd, b"\n")


def _last_row_start(fd: int, size: int) -> int:
    """One past the last newline, looked for from the end: a dead letter may be megabytes long."""
    end = size
    while end:
        start = max(0, end - _TAIL_BYTES)
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
