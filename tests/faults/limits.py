"""What a machine has too little of: memory of a control group, and disk of a small file system."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import wait_until

_V1 = Path("/sys/fs/cgroup/memory")
_V2 = Path("/sys/fs/cgroup")


def _has_memory_controller() -> bool:
    enabled = _V2 / "cgroup.subtree_control"
    return _V1.is_dir() or (enabled.exists() and "memory" in enabled.read_text().split())


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
needs_control_groups = pytest.mark.skipif(
    os.geteuid() != 0 or not _has_memory_controller(),
    reason="memory can only be limited by root, in a control group with the memory controller",
)


@contextmanager
def memory_limited(pid: int, most_bytes: int) -> Iterator[None]:
    """A process that the kernel kills when it takes more than that from now on. What it has
    already counts where it was taken."""
    above, limit = (_V1, "memory.limit_in_bytes") if _V1.is_dir() else (_V2, "memory.max")
    group = above / f"headrace-{uuid.uuid4().hex[:8]}"
    group.mkdir()
    try:
        (group / limit).write_text(str(most_bytes))
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        wait_until(lambda: not (group / "cgroup.procs").read_text().strip(), 30)
        group.rmdir()


@contextmanager
def small_disk(at: Path, size_bytes: int) -> Iterator[Path]:
    """A file system of so many bytes at a folder."""
    at.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "headrace", str(at)], check=True
    )
    try:
        yield at
    finally:
        subprocess.run(["umount", str(at)], check=True)
