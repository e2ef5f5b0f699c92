"""How much of a machine's cores a worker may take, and how many threads it takes of them."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_UNLIMITED = math.inf


def usable_cores() -> int:
    """Cores that this process can keep busy: those that it may run on, and no more than its share
    of them, rounded up."""
    return max(1, math.ceil(usable_share()))


def usable_share(root: Path = Path("/")) -> float:
    """The same as seconds of CPU in a second, above 0: a container with a limit of half a core,
    `--cpus 0.5`, has 0.5 on a machine of 64. ``root`` is where ``proc`` and ``sys`` are."""
    return min((len(os.sched_getaffinity(0)), *_quotas(root)))


def cpu_model() -> str:
    """What the CPU calls itself. Linux says it here; ``platform.processor`` is empty on most."""
    lines = _read(Path("/proc/cpuinfo")).splitlines()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or "unknown"


def default_torch_threads(cores: int) -> int:
    """One core is left for decoding. Torch threads beyond the cores that are free collapse: a
    network that made 27 images/s with one thread made 0.4 with two beside a busy process."""
    return max(1, cores - 1) if cores > 2 else 1


def default_decode_threads(cores: int) -> int:
    """One more than there are cores: between two pictures a thread waits for the interpreter's lock
    now and then, and another one uses its core meanwhile. That is worth 6 % of a worker's speed on
    two cores (docs/measurements.md)."""
    return cores + 1


def _quotas(root: Path) -> Iterator[float]:
    """The limits of the control groups that this process is in, and of those around them: each of
    them holds. In a container a group's own folder may be mounted at the top, under the name that
    it has outside."""
    for line in _read(root / "proc/self/cgroup").split("\n"):
        _, _, group_of = line.partition(":")
        controllers, _, path = group_of.partition(":")
        if not path:
            continue
        inside = PurePosixPath(path.lstrip("/"))
        for group in (inside, *inside.parents):
            if not controllers:
                yield _quota_v2(root / "sys/fs/cgroup" / group)
            elif "cpu" in controllers.split(","):
                yield _quota_v1(root / "sys/fs/cgroup" / controllers / group)
                yield _quota_v1(root / "sys/fs/cgroup/cpu" / group)


def _quota_v2(group: Path) -> float:
    """``cpu.max`` says how many microseconds in how many, or ``max`` where there is no limit."""
    quota, _, period = _read(group / "cpu.max").partition(" ")
    return _share(quota, period)


def _quota_v1(group: Path) -> float:
    """The same in two files, with -1 where there is no limit."""
    return _share(_read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us"))


def _share(quota_us: str, period_us: str) -> float:
    try:
        quota, period = float(quota_us), float(period_us)
    except ValueError:
        return _UNLIMITED
    return quota / period if quota > 0 and period > 0 else _UNLIMITED


def _read(path: Path) -> str:
    """What stands there, "" where there is no such file: not on Linux, or another version."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
