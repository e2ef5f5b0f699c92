"""A canary gets a share of the frames and not of the streams, which change sides all the time."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.engine.canary import StreamShare
from pipeline.sample import Sample
from tests.faults.planted import replace


def _rows(self: StreamShare, samples: Sequence[Sample]) -> list[int]:
    return [row for row, sample in enumerate(samples) if sample.frame.position.offset % 2]


def plant() -> None:
    replace(StreamShare, "rows", _rows)
