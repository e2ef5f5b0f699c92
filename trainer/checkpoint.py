"""Files of a run: written whole or not at all, and read without running code from them."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from pipeline.errors import ConfigError, HeadraceError


def write_atomically(path: Path, data: bytes) -> None:
    """Replaces ``path`` by ``data``; a kill at any point leaves the old file or the new one.

    Raises:
        HeadraceError: the disk is full, or the folder can't be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_folder(path.parent)
    except OSError as cause:
        raise HeadraceError(
            f"{path} can't be written: {cause.strerror}. Free some space or choose another --run."
        ) from cause
    finally:
        partial.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Makes the rename itself durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_partials(folder: Path) -> None:
    """Deletes what writers that were killed left half-written in ``folder``."""
    for partial in folder.glob(".*.tmp"):
        partial.unlink(missing_ok=True)


def save_tensors(path: Path, content: dict[str, Any]) -> None:
    """Writes tensors and plain values with ``torch.save``, atomically."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getvalue())


def load_tensors(path: Path) -> dict[str, Any]:
    """Reads tensors and plain values, on the CPU; other pickled objects are refused.

    Raises:
        ConfigError: the file isn't there, or isn't a dictionary of tensors and plain values.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as cause:
        raise ConfigError(f"{path} isn't there") from cause
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as cause:
        reason = str(cause).partition("\n")[0]
        raise ConfigError(
            f"{path} can't be read as a state_dict: {reason}. Expected what"
            " torch.save(network.state_dict(), path) writes."
        ) from cause
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds a {type(content).__name__}, expected a state_dict")
    return content
