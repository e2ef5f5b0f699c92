"""The same, so slow that any moment finds frames that are decoded and not scored."""

from __future__ import annotations

from tests.faults.device_plants import slow


def plant() -> None:
    slow.BATCH_S = 0.1
    slow.plant()
