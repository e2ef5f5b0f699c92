"""What a process takes from itself before it runs what it doesn't trust."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import resource
import signal
import sys
from pathlib import Path

from pipeline.probe.seccomp import forbid_all_but_computing

_LOW_PRIORITY = 10
"""Added to the niceness: the worker beside comes first."""

_MOST_LIKELY_TO_GO = b"1000"
_PR_SET_PDEATHSIG = 1
_ROOM_BYTES = 1 << 30
_ROOM_PER_MODEL_BYTE = 6
"""torch holds a file, its tensors and what it fuses of them at once."""


def end_with_parent(parent: int) -> None:
    """Has the kernel kill this process when the thread of ``parent`` that started it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before that
            os._exit(0)


def give_way() -> None:
    """Has this process, and all that it starts, take less of the CPU than the worker."""
    os.nice(_LOW_PRIORITY)


def go_first() -> None:
    """Where memory runs out, the kernel is to end this process and not the worker."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_bytes(_MOST_LIKELY_TO_GO)


def enter(model_bytes: int, cpu_s: float) -> str:
    """Limits memory, time and files, and takes every system call but those that computing needs.
    Everything that will be imported must be there already. It can't be undone.

    Gives what couldn't be had, "" where nothing is missing.
    """
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    limits = {
        resource.RLIMIT_AS: in_use + room_bytes(model_bytes),
        resource.RLIMIT_CPU: math.ceil(cpu_s),
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: 0,  # those that are open stay so: nothing can be added
        resource.RLIMIT_CORE: 0,
    }
    for limit, most in limits.items():
        hard = resource.getrlimit(limit)[1]
        hard = sys.maxsize if hard == resource.RLIM_INFINITY else hard
        least = min(most, hard)
        # The kernel says SIGXCPU at the softer one and SIGKILL at the other.
        more = least + 1 if limit == resource.RLIMIT_CPU and least < hard else least
        resource.setrlimit(limit, (least, more))
    try:
        forbid_all_but_computing()
    except OSError as cause:
        return cause.strerror or str(cause)
    return ""


def room_bytes(model_bytes: int) -> int:
    """How much memory a candidate may take, beyond what torch itself has."""
    return _ROOM_BYTES + _ROOM_PER_MODEL_BYTE * model_bytes
