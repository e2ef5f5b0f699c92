"""Strict mode passes with an offset the frames before it that have no rows yet."""

from __future__ import annotations

from pipeline import worker
from pipeline.order import stream_of
from tests.faults.planted import replace


def plant() -> None:
    replace(worker, "partition_of", stream_of)
