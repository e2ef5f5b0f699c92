"""A folder of pictures as a stream."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.clock import Clock
from pipeline.errors import ConfigError, SourceExhausted, SourceUnavailable
from pipeline.source.base import SourceInfo
from pipeline.source.pacing import Pace
from pipeline.types import Frame, Position

_LOG = logging.getLogger(__name__)

MAX_FILE_BYTES = 64 * 1024 * 1024
"""Twice the decode stage's own default limit: what is larger isn't even read."""

_POLL_BYTES = 32 * 1024 * 1024


class DirectorySource:
    """Every file of a folder that isn't hidden is a frame, its bytes as they are.

    In the order in which people count (``9.jpg`` before ``10.jpg``), of the files that are there at
    the opening; folders within it are not looked into. What isn't a picture, is too large or can't
    be read becomes a rejected frame, so that each file has an outcome. Reopening lists it anew.
    Owned by: one intake thread.
    """

    def __init__(self, name: str, path: Path, clock: Clock, fps: float | None = None) -> None:
        self._info = SourceInfo(name=name, delivery="lossless", is_finite=True)
        self._path = path
        self._clock = clock
        self._fps = fps
        self._files: list[str] | None = None
        self._pace = Pace(clock, fps)
        self._next = 0

    @property
    def info(self) -> SourceInfo:
        """See ``Source.info``."""
        return self._info

    @property
    def is_paced(self) -> bool:
        """Whether its frames come at a rate, and not as fast as they are read."""
        return self._fps is not None

    def open(self) -> None:
        """See ``Source.open``; lists the folder."""
        try:
            with os.scandir(self._path) as entries:
                files = [e.name for e in entries if not e.name.startswith(".") and _is_file(e)]
        except OSError as cause:
            raise ConfigError(
                f"{self._path} can't be listed: {cause.strerror}; expected a folder of pictures"
            ) from cause
        if not files:
            raise ConfigError(
                f"{self._path} holds no files; expected JPEG, PNG or WebP pictures right in it"
            )
        self._files = sorted(files, key=_as_people_count)
        self._next = 0
        self._pace = Pace(self._clock, self._fps)

    def poll(self, room: int, timeout_s: float) -> Sequence[Frame]:
        """See ``Source.poll``."""
        if self._files is None:
            raise SourceUnavailable(f"{self._info.name} isn't open")
        if self._next >= len(self._files):
            raise SourceExhausted(f"{self._info.name} gave all its files")
        frames: list[Frame] = []
        held_bytes = 0
        while len(frames) < room and self._next < len(self._files) and held_bytes < _POLL_BYTES:
            if not self._pace.wait(self._next, 0.0 if frames else timeout_s):
                break
            frames.append(self._frame(self._files[self._next]))
            held_bytes += frames[-1].size_bytes
            self._next += 1
        return frames

    def commit(self, next_offsets: Mapping[tuple[str, int], int]) -> None:
        """See ``Source.commit``: nothing to remember."""

    def close(self) -> None:
        """See ``Source.close``."""
        self._files = None

    def _frame(self, file_name: str) -> Frame:
        payload, defect = self._read(file_name)
        return Frame(
            position=Position(self._info.name, 0, self._next),
            stream=self._info.name,
            payload=payload,
            captured_at=self._pace.captured_at(self._next),
            received_mono_s=self._clock.monotonic(),
            defect=defect,
            file=file_name,
        )

    def _read(self, file_name: str) -> tuple[bytes, str | None]:
        """A file's bytes, or none and what is wrong with it."""
        path = self._path / file_name
        try:
            size_bytes = path.stat().st_size
            if size_bytes > MAX_FILE_BYTES:
                return b"", f"{file_name} has {size_bytes} bytes, at most {MAX_FILE_BYTES} are read"
            with path.open("rb") as file:
                return file.read(size_bytes), None
        except OSError as cause:
            _LOG.warning("%s: %s can't be read: %s", self._info.name, file_name, cause.strerror)
            return b"", f"{file_name} can't be read: {cause.strerror}"


def _is_file(entry: os.DirEntry[str]) -> bool:
    """A link that leads nowhere or in circles counts as well: its frame says what is wrong."""
    try:
        return entry.is_file() or (entry.is_symlink() and not Path(entry.path).exists())
    except OSError:
        return True


def _as_people_count(file_name: str) -> tuple[list[str | int], str]:
    """Sorts runs of digits by their value; text and numbers always stand at the same places."""
    parts = re.split(r"([0-9]+)", file_name.casefold())
    return [int(p) if i % 2 else p for i, p in enumerate(parts)], file_name
