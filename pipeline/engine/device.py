"""A device for networks: which one, its memory, and what its errors mean."""

from __future__ import annotations

import functools
import re
import threading

import torch

from pipeline.errors import ConfigError, RestartNeeded
from pipeline.types import BatchNhwc

_NO_ROOM = (
    "out of memory",
    "can't allocate memory",
    "alloc_failed",
    "allocation_failed",
    "cublas_status_not_initialized",
)
"""What CUDA's and the CPU's allocators, cuBLAS and cuDNN say of it, in lower case. The last is what
cuBLAS says where it finds no memory to begin with."""

_heeding = threading.local()

_INTERPRETED = "The following operation failed in the TorchScript interpreter"
_RAISED = re.compile(r"^[\w.]*(?:Error|Exception): ", re.MULTILINE)


def choose_device(wanted: str) -> str:
    """``auto`` becomes ``cuda:0`` where there is one, else ``cpu``.

    Raises:
        ConfigError: the device isn't one, or isn't there.
    """
    if wanted == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError as cause:
        raise ConfigError(f"device {wanted!r}: expected auto, cpu, cuda or cuda:N") from cause
    if device.type == "cpu":
        return "cpu"
    there = torch.cuda.device_count()
    if device.type != "cuda" or (device.index or 0) >= there:
        raise ConfigError(
            f"device {wanted!r} isn't there: torch sees {there} CUDA devices; use --device cpu"
        )
    return f"cuda:{device.index or 0}"


def use_threads(threads: int) -> None:
    """Sets how many threads torch may use for one forward pass, for the whole process."""
    torch.set_num_threads(threads)


def heed_threads() -> None:
    """Has torch compute on the calling thread with as many threads as are set. OpenMP counts by
    thread: on one that torch has split no work on yet, oneDNN takes as many as there are cores
    (docs/measurements.md)."""
    if not hasattr(_heeding, "threads"):
        _heeding.threads = torch.get_num_threads()  # sets it, too


def allocate_batch(shape_nhwc: tuple[int, int, int, int], device: str) -> BatchNhwc:
    """Memory for a batch, page-locked where a CUDA device will read it directly."""
    return torch.zeros(shape_nhwc, dtype=torch.uint8, pin_memory=device != "cpu").numpy()


@functools.cache
def copies_of(device: torch.device) -> torch.cuda.Stream:
    """The device's one stream for copies, so that a batch isn't copied behind what a candidate for
    a swap computes. One for all models: torch keeps freed memory by stream, and with a stream for
    each model 36 loads of a ResNet-18 held on to 660 MiB (docs/measurements.md)."""
    return torch.cuda.Stream(device)


def reason_of(error: BaseException) -> str:
    """The line that says what happened: TorchScript's interpreter puts source and traceback of the
    network in front of it, and CUDA advice behind it."""
    text = str(error).strip()
    raised = list(_RAISED.finditer(text)) if text.startswith(_INTERPRETED) else []
    text = text[raised[-1].start() :] if raised else text
    return text.splitlines()[0].strip() if text else type(error).__name__


def has_no_room(error: BaseException) -> bool:
    """Whether an allocation failed. By what it says: TorchScript's interpreter makes a plain
    ``RuntimeError`` of ``torch.OutOfMemoryError`` and of all others, and what CUDA's libraries
    can't allocate comes as errors of theirs."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    said = reason_of(error).lower()
    return any(each in said for each in _NO_ROOM)


def check_device(device: torch.device, error: BaseException) -> None:
    """Asks the device itself whether it outlived an error of a network.

    An illegal access, say, stays with the process, and all later calls fail. The error alone
    doesn't tell: raised within the network it looks like any other, and not every
    ``AcceleratorError`` is of that kind.

    Raises:
        RestartNeeded: it didn't.
    """
    lost: BaseException | None = None
    if device.type == "cuda":
        try:
            torch.cuda.synchronize(device)
        except RuntimeError as cause:
            lost = cause
    elif isinstance(error, torch.AcceleratorError):
        lost = error  # a device of which nothing is known here
    if lost is not None:
        raise RestartNeeded(f"the device {device} failed: {reason_of(lost)}") from error
