"""What a process takes from itself before it runs what it doesn't trust."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

from pipeline.probe.seccomp import forbid_all_but_computing

CPU_S = 60
"""Of computing: the golden inputs of a large network take a second or two."""

_PR_SET_PDEATHSIG = 1
_ROOM_BYTES = 1 << 30
_ROOM_PER_MODEL_BYTE = 6
"""torch holds a file, its tensors and what it fuses of them at once."""


def end_with_parent() -> None:
    """Has the kernel kill this process when the thread that started it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def enter(model_bytes: int) -> str:
    """Limits memory, time and files, and takes every system call but those that computing needs.
    Everything that will be imported must be there already. It can't be undone.

    Gives what couldn't be had, "" where nothing is missing.
    """
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    limits = {
        resource.RLIMIT_AS: in_use + _ROOM_BYTES + _ROOM_PER_MODEL_BYTE * model_bytes,
        resource.RLIMIT_CPU: CPU_S,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: 0,  # those that are open stay so: nothing can be added
        resource.RLIMIT_CORE: 0,
    }
    for limit, most in limits.items():
        resource.setrlimit(limit, (most, most))
    try:
        forbid_all_but_computing()
    except OSError as cause:
        return cause.strerror or str(cause)
    return ""
