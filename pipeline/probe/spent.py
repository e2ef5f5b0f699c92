"""How much CPU another process took, as exactly as the kernel knows it."""

from __future__ import annotations

import contextlib
import os
import time
from functools import cache
from pathlib import Path


@cache
def is_cpu_told() -> bool:
    """Whether the kernel tells whose children a process's are, without which ``spent_s`` is wrong:
    Linux does, in most builds."""
    return _children_file(os.getpid()).exists()


def spent_s(pid: int) -> float:
    """Seconds of CPU of a process and of its children that still live."""
    return sum(map(_own_s, (pid, *_children(pid))))


def _own_s(pid: int) -> float:
    """0 for one that is gone. ``clock_getcpuclockid(3)`` gives this number for all its threads."""
    with contextlib.suppress(OSError):
        return time.clock_gettime(~pid << 3 | 2)
    return 0.0


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return list(map(int, _children_file(pid).read_text().split()))
    return []


def _children_file(pid: int) -> Path:
    return Path(f"/proc/{pid}/task/{pid}/children")
