"""A look at a TorchScript file before torch reads it: its table of contents and its code, as data.

It is a net for what is plainly wrong, not a wall: a network is a program, and what it computes no
look can foresee. The probe contains it while it is tried, a signature says whose it is.
"""

from __future__ import annotations

import io
import re
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
_FILES = re.compile(r"(?:torch|aten)\.(?:save|from_file)\(")
_OPERATORS = re.compile(r"(?<![\w.])ops\.(\w+)\.")
_KNOWN_OPERATORS = frozenset(
    (
        *("aten", "prim", "prims", "mkldnn", "mkldnn_prepacked", "onednn", "prepacked"),
        *("quantized", "_quantized", "quantization", "sparse", "torchvision"),
    )
)
"""Of torch itself and of torchvision, those that compute. Others (c10d) talk to other machines."""


def check_archive(what: str, model: bytes) -> None:
    """Checks ``model``, the content of a TorchScript file; ``what`` names it.

    Raises:
        ArtifactRefused: ``corrupt``: it is no zip as torch writes them; ``forbidden``: its code
            calls what writes or reads files, or operators that Headrace doesn't know.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(model)) as archive:
            members = archive.infolist()
            _check_members(what, members, len(model))
            for member in members:
                if member.filename.endswith(".py"):
                    _check_code(what, archive.read(member).decode("utf-8", "replace"))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as cause:
        raise _corrupt(what, f"isn't a zip as torch writes them ({cause})") from cause
    except (ValueError, OSError, MemoryError) as cause:
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
    unpacked = sum(member.file_size for member in members)
    most = _MOST_RATIO * size_bytes + _ROOM_BYTES
    if unpacked > most:
        raise _corrupt(what, f"unpacks to {unpacked} bytes, expected at most {most}")
    code = sum(member.file_size for member in members if member.filename.endswith(".py"))
    if code > MOST_CODE_BYTES:
        raise _corrupt(what, f"has {code} bytes of code, expected at most {MOST_CODE_BYTES}")


def _check_code(what: str, code: str) -> None:
    # As torch's own lexer takes it: it doesn't care for spaces and lines between names.
    code = re.sub(r"\s*([.(])\s*", r"\1", re.sub(r"#[^\n]*|\\\n", "", code))
    if found := _FILES.search(code):
        raise _forbidden(what, f"calls {found[0]}…), which reads or writes files")
    for name in _OPERATORS.findall(code):
        if name not in _KNOWN_OPERATORS:
            raise _forbidden(what, f"calls operators of {name!r}, which aren't torch's computing")


def _corrupt(what: str, problem: str) -> ArtifactRefused:
    return ArtifactRefused("corrupt", f"{what} {problem}: publish the model again")


def _forbidden(what: str, problem: str) -> ArtifactRefused:
    return ArtifactRefused(
        "forbidden", f"the code of {what} {problem}: a network only computes; take it out of it"
    )
