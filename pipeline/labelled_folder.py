"""A folder of frames and what they really show: ``LABEL/NAME.jpg``, NAME being the frame's id with
``-`` for ``/``. What is there may be learnt from (``headrace trainer watch --feedback``)."""

from __future__ import annotations

from pathlib import Path

from pipeline.image_header import read_header

_SUFFIXES = {"jpeg": ".jpg", "png": ".png", "webp": ".webp"}
PICTURES = frozenset({*_SUFFIXES.values(), ".jpeg"})
"""What names of pictures end in."""


def keep_labelled(folder: Path, label: str, frame_id: str, data: bytes) -> Path:
    """Writes an encoded picture under its label, in the place of what it was labelled before; gives
    its path. A reader never sees half of it: names that begin with a dot aren't looked at.

    Raises:
        FrameRejected: it is no picture.
        OSError: it can't be written.
    """
    name = frame_id.replace("/", "-") + _SUFFIXES[read_header(data).kind]
    path = folder / label / name
    path.parent.mkdir(parents=True, exist_ok=True)
    unseen = path.with_name(f".{name}")
    unseen.write_bytes(data)
    for before in folder.glob(f"*/{name}"):
        before.unlink(missing_ok=True)
    unseen.replace(path)
    return path


def kept_pictures(folder: Path) -> list[Path]:
    """What is there, the oldest first.

    Raises:
        OSError: it can't be listed.
    """
    there = [path for path in folder.glob("*/[!.]*") if path.suffix in PICTURES]
    return sorted(there, key=lambda path: path.stat().st_mtime)
