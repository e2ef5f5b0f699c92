"""What worker and probe say to each other, over two pipes."""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from typing import BinaryIO

from pipeline.artifact.unpack import Files
from pipeline.types import Backend

_HEAD = struct.Struct("<Q")
MOST_REPLY_BYTES = 16 * 1024
_MOST_DETAIL = 400


@dataclass(frozen=True, slots=True)
class Request:
    """One candidate: its files, who is to run it, and how long it may compute, and take in all."""

    name: str
    version: int
    files: Files
    backend: Backend
    within_s: float
    wall_s: float

    def write_to(self, pipe: BinaryIO) -> None:
        """Sends it.

        Raises:
            OSError: nobody reads any more.
        """
        files = self.files
        parts = (files.manifest, files.model, files.golden, *files.formats.values())
        about = {
            "request": [self.name, self.version, self.backend, self.within_s, self.wall_s],
            "sizes": [len(part) for part in parts],
            "formats": list(files.formats),
        }
        head = json.dumps(about).encode()
        for part in (_HEAD.pack(len(head)), head, *parts):
            pipe.write(part)
        pipe.flush()

    @classmethod
    def read_from(cls, pipe: BinaryIO) -> Request | None:
        """The next one; None where the other side is gone."""
        size = pipe.read(_HEAD.size)
        if len(size) < _HEAD.size:
            return None
        head = pipe.read(*_HEAD.unpack(size))
        if len(head) < _HEAD.unpack(size)[0]:
            return None
        about = json.loads(head)
        parts = [pipe.read(size) for size in about["sizes"]]
        if [len(part) for part in parts] != about["sizes"]:
            return None
        manifest, model, golden, *others = parts
        formats = dict(zip(about["formats"], others, strict=True))
        name, version, backend, within_s, wall_s = about["request"]
        files = Files(manifest, model, golden, formats)
        return cls(name, version, files, backend, within_s, wall_s)


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of a candidate. ``reason`` is empty where it may be loaded; ``missing`` is what
    of the jail this system doesn't have."""

    reason: str = ""
    detail: str = ""
    missing: str = ""

    def to_bytes(self) -> bytes:
        """One line of JSON, no longer than ``MOST_REPLY_BYTES``."""
        short = {key: " ".join(value[:_MOST_DETAIL].split()) for key, value in asdict(self).items()}
        return json.dumps(short).encode() + b"\n"

    def write_to(self, pipe: BinaryIO) -> None:
        """Sends it."""
        pipe.write(self.to_bytes())
        pipe.flush()

    @classmethod
    def of(cls, said: bytes) -> Reply | None:
        """What a child wrote, which may be anything; None where it is no reply."""
        try:
            found = json.loads(said)
            fields = [found[name] for name in ("reason", "detail", "missing")]
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        return cls(*fields) if all(isinstance(field, str) for field in fields) else None
