"""How much CPU another process took, as exactly as the kernel knows it."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

_IS_TOLD = Path(f"/proc/self/task/{os.getpid()}/children").exists()


def spent_s(pid: int) -> float:
    """Seconds of CPU of a process and of its children that still live. Where the kernel doesn't
    tell whose children they are, the seconds that passed: as if it had never waited."""
    if not _IS_TOLD:
        return time.monotonic()
    return sum(map(_own_s, (pid, *_children(pid))))


def _own_s(pid: int) -> float:
    """0 for one that is gone. ``clock_getcpuclockid(3)`` gives this number for all its threads."""
    with contextlib.suppress(OSError):
        return time.clock_gettime(~pid << 3 | 2)
    return 0.0


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    return []
