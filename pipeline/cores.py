"""How many threads a worker takes of a machine's cores."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0))


def default_torch_threads(cores: int) -> int:
    """One core is left for decoding. Torch threads beyond the cores that are free collapse: a
    network that made 27 images/s with one thread made 0.4 with two beside a busy process."""
    return max(1, cores - 1) if cores > 2 else 1


def default_decode_threads(cores: int) -> int:
    """One more than there are cores: between two pictures a thread waits for the interpreter's lock
    now and then, and another one uses its core meanwhile. That is worth 6 % of a worker's speed on
    two cores (docs/measurements.md)."""
    return cores + 1
