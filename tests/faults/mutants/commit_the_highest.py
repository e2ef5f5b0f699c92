"""What is committed is the highest offset that is done, whatever isn't done before it."""

from __future__ import annotations

from pipeline.commit import Ledger
from pipeline.types import Position
from tests.faults.planted import replace

_finish = Ledger.finish
_highest: dict[tuple[str, int], int] = {}


def _finish_noting(self: Ledger, position: Position) -> bool:
    partition = (position.topic, position.partition)
    _highest[partition] = max(_highest.get(partition, 0), position.offset + 1)
    return _finish(self, position)


def _next_offsets(self: Ledger) -> dict[tuple[str, int], int]:
    return dict(_highest)


def plant() -> None:
    replace(Ledger, "finish", _finish_noting)
    replace(Ledger, "next_offsets", _next_offsets)
