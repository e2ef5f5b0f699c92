"""The same, so slow that a revocation ends before the frames in flight do."""

from __future__ import annotations

from tests.faults.device_plants import slow


def plant() -> None:
    slow.BATCH_S = 0.5
    slow.plant()
