"""A look at a TorchScript file before torch reads it: its table of contents.

The probe does it, where a file that is made to take long takes only its own time.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence

from pipeline.errors import ArtifactRefused

MOST_MEMBERS = 100_000
"""A member is a tensor or a source file; the largest networks have some thousands."""

MOST_CODE_BYTES = 64 * 1024 * 1024
_MOST_RATIO = 4
_ROOM_BYTES = 16 * 1024 * 1024
"""torch stores tensors as they are, and packs code alone: a file that unpacks to much more than
its size isn't torch's."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def check_archive(what: str, model: bytes) -> None:
    """Checks ``model``, the content of a TorchScript file; ``what`` names it.

    Raises:
        ArtifactRefused: ``corrupt``: it is no zip as torch writes them.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(model)) as archive:
            _check_members(what, archive.infolist(), len(model))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as cause:
        raise _corrupt(what, f"isn't a zip as torch writes them ({cause})") from cause
    except (ValueError, ArithmeticError, OSError, MemoryError) as cause:
        raise _corrupt(what, f"can't be read as a zip ({cause})") from cause


def _check_members(what: str, members: Sequence[zipfile.ZipInfo], size_bytes: int) -> None:
    if len(members) > MOST_MEMBERS:
        raise _corrupt(what, f"has {len(members)} members, expected at most {MOST_MEMBERS}")
    twice = [name for name, count in Counter(m.filename for m in members).items() if count > 1]
    if twice:
        raise _corrupt(what, f"has two members {twice[0][:100]!r}")
    for member in members:
        parts = member.filename.split("/")
        if member.filename.startswith("/") or ".." in parts or "\\" in member.filename:
            raise _corrupt(what, f"has a member {member.filename[:100]!r}, which leads elsewhere")
        if member.compress_type not in _METHODS or member.flag_bits & 1:
            raise _corrupt(what, f"has {member.filename[:100]!r} packed as torch never packs")
    if len({member.filename.partition("/")[0] for member in members}) > 1:
        raise _corrupt(what, "has more than one folder at its top")
    # Python counts from the table of contents that is at the end, torch from the file's beginning:
    # where something stands before the first member, the two see different tables.
    if min((member.header_offset for member in members), default=1):
        raise _corrupt(what, "doesn't begin with its first member")
    unpacked = sum(member.file_size for member in members)
    most = _MOST_RATIO * size_bytes + _ROOM_BYTES
    if unpacked > most:
        raise _corrupt(what, f"unpacks to {unpacked} bytes, expected at most {most}")
    code = sum(member.file_size for member in members if member.filename.endswith(".py"))
    if code > MOST_CODE_BYTES:
        raise _corrupt(what, f"has {code} bytes of code, expected at most {MOST_CODE_BYTES}")


def _corrupt(what: str, problem: str) -> ArtifactRefused:
    return ArtifactRefused("corrupt", f"{what} {problem}: publish the model again")
