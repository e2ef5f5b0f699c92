"""What worker and probe say to each other, over two pipes."""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from typing import BinaryIO

_HEAD = struct.Struct("<QQQQdd")
MOST_REPLY_BYTES = 16 * 1024
_MOST_DETAIL = 400


@dataclass(frozen=True, slots=True)
class Request:
    """One candidate: the bytes of its files, and how long it may compute, and take in all."""

    name: str
    version: int
    manifest: bytes
    model: bytes
    golden: bytes
    within_s: float
    wall_s: float

    def write_to(self, pipe: BinaryIO) -> None:
        """Sends it.

        Raises:
            OSError: nobody reads any more.
        """
        about = json.dumps([self.name, self.version]).encode()
        parts = (about, self.manifest, self.model, self.golden)
        pipe.write(_HEAD.pack(*map(len, parts), self.within_s, self.wall_s))
        for part in parts:
            pipe.write(part)
        pipe.flush()

    @classmethod
    def read_from(cls, pipe: BinaryIO) -> Request | None:
        """The next one; None where the other side is gone."""
        head = pipe.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return None
        *sizes, within_s, wall_s = _HEAD.unpack(head)
        parts = [pipe.read(size) for size in sizes]
        if [len(part) for part in parts] != sizes:
            return None
        about, manifest, model, golden = parts
        name, version = json.loads(about)
        return cls(name, version, manifest, model, golden, within_s, wall_s)


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
