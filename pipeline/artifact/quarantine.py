"""Contents that were refused for what they are: none of them is tried again, under any version."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.artifact.storage import LocalStorage
from pipeline.errors import ConfigError
from pipeline.types import ModelIdentity

log = logging.getLogger(__name__)

_MOST = 256
"""The oldest go first: what a trainer published so long ago doesn't come back by itself."""

_MOST_WHY = 500
_MOST_BYTES = _MOST * 8 * (_MOST_WHY + 500)
"""Each character of a reason may take several bytes."""


class Entry(BaseModel):
    """One line of the file: which content was refused, as which version first, and why. ``at`` is
    Unix seconds."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    content_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    version: int
    sha256: str
    why: str
    at: float


class Quarantine:
    """Of one model. Without a ``folder`` it is remembered in this process alone.

    With one, the file ``NAME.quarantine`` there is what counts, a line of JSON each: several
    workers may share it, and who deletes a line, or the file, lets the content go. What is wrong
    with the file keeps nobody from scoring. Owned by: the thread that makes models ready.
    """

    def __init__(self, folder: str, name: str) -> None:
        self._folder = Path(folder) if folder else None
        self._file = f"{name}.quarantine"
        self._unkept: OrderedDict[str, Entry] = OrderedDict()
        self._complaint = ""
        if self._folder is not None:
            self._storage = LocalStorage(self._folder)

    def prepare(self) -> None:
        """Makes the folder: what can't be written later is better known now.

        Raises:
            ConfigError: it can't be made or written.
        """
        if self._folder is None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._storage.locked(""):
                pass
        except OSError as cause:
            raise ConfigError(
                f"model.state_folder {self._folder} can't be used ({cause.strerror}): it keeps "
                "which models were refused; give a folder that can be written"
            ) from cause

    def why(self, content: str) -> str:
        """Why this ``Manifest.content`` is in quarantine; "" if it isn't."""
        entry = self._entries().get(_key(content))
        if entry is None:
            return ""
        is_kept = self._folder is not None and _key(content) not in self._unkept
        where = f"; {self._folder}/{self._file} says so" if is_kept else ""
        return f"version {entry.version} was refused, {entry.why}{where}"

    def add(self, refused: ModelIdentity, content: str, why: str, now: float) -> None:
        """This content was refused. Where that can't be written, it is known in this process."""
        if self._folder is not None:
            entry = _entry(refused, content, why, now)
            try:
                with self._storage.locked(""):
                    entries = self._kept()
                    entries[entry.content_sha256] = entry
                    self._storage.write(self._file, _lines(entries))
                return
            except OSError as error:
                log.error("%s can't be written: %s", self._folder / self._file, error.strerror)
        self.add_for_now(refused, content, why, now)

    def add_for_now(self, refused: ModelIdentity, content: str, why: str, now: float) -> None:
        """The same, known in this process alone."""
        entry = _entry(refused, content, why, now)
        self._unkept[entry.content_sha256] = entry
        while len(self._unkept) > _MOST:
            self._unkept.popitem(last=False)

    def entries(self) -> list[Entry]:
        """All that is in it, the oldest first."""
        return list(self._entries().values())

    def release(self, version: int) -> int:
        """Takes out of the file what was refused as this version; says how many contents.

        Raises:
            ConfigError: the file can't be written.
        """
        if self._folder is None:
            return 0
        try:
            with self._storage.locked(""):
                entries = self._kept()
                left = {key: each for key, each in entries.items() if each.version != version}
                if len(left) < len(entries):
                    self._storage.write(self._file, _lines(OrderedDict(left)))
        except FileNotFoundError:
            return 0
        except OSError as cause:
            raise ConfigError(
                f"{self._folder}/{self._file} can't be written ({cause.strerror}): release as the "
                "user whose worker keeps it"
            ) from cause
        return len(entries) - len(left)

    def __len__(self) -> int:
        return len(self._entries())

    def _entries(self) -> OrderedDict[str, Entry]:
        entries: OrderedDict[str, Entry] = OrderedDict()
        if self._folder is not None:
            with self._complaining():
                entries = self._kept()
        entries.update(self._unkept)
        return entries

    def _kept(self) -> OrderedDict[str, Entry]:
        """What the file says; lines that say nothing are passed over."""
        try:
            content = self._storage.read(self._file, _MOST_BYTES)
        except FileNotFoundError:
            return OrderedDict()
        entries: OrderedDict[str, Entry] = OrderedDict()
        bad = 0
        for line in content.splitlines():
            try:
                entry = Entry.model_validate_json(line)
            except ValidationError:
                bad += 1
                continue
            entries[entry.content_sha256] = entry
        if bad:
            self._complain(f"{bad} lines say nothing that was written there: they are passed over")
        return entries

    @contextlib.contextmanager
    def _complaining(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._complain(f"it can't be read ({error.strerror}): what it says is passed over")

    def _complain(self, what: str) -> None:
        """Says it once."""
        if what != self._complaint:
            self._complaint = what
            log.error("%s: %s", Path(self._folder or "") / self._file, what)


def _key(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def _entry(refused: ModelIdentity, content: str, why: str, now: float) -> Entry:
    return Entry(
        content_sha256=_key(content),
        version=refused.version,
        sha256=refused.sha256,
        why=why[:_MOST_WHY],
        at=round(now, 3),
    )


def _lines(entries: OrderedDict[str, Entry]) -> bytes:
    newest = list(entries.values())[-_MOST:]
    return b"".join(json.dumps(each.model_dump()).encode() + b"\n" for each in newest)
