"""Decoded frames: a row of a batch each, and the preallocated memory that they are in."""

from __future__ import annotations

from msgspec import Struct

from pipeline.batch import CloseReason
from pipeline.types import BatchNhwc, Frame, ImageHwc


class Sample(Struct, frozen=True, gc=False):
    """A decoded frame in its row. ``width`` and ``height`` are the original picture's."""

    frame: Frame
    row: int
    width: int
    height: int
    queue_s: float
    decode_s: float
    decoded_mono_s: float


class Batch(Struct, frozen=True, gc=False):
    """Samples that are scored together by one model.

    ``rows_nhwc`` is the whole preallocated slot; rows that no sample names hold old pixels.
    """

    rows_nhwc: BatchNhwc
    samples: tuple[Sample, ...]
    closed_by: CloseReason
    slot: int

    @property
    def rows_used(self) -> int:
        """Rows up to the last one in use."""
        return max(sample.row for sample in self.samples) + 1


class Row(Struct, frozen=True, gc=False):
    """A decode thread's right to write one row, until it completes or releases it."""

    slot: int
    row: int
    image_hwc: ImageHwc


class Slot:
    """One preallocated batch. Owned by: the assembler, under its lock."""

    def __init__(self, number: int, rows_nhwc: BatchNhwc) -> None:
        self.number = number
        self.rows_nhwc = rows_nhwc
        self.rows = [Row(number, row, image_hwc) for row, image_hwc in enumerate(rows_nhwc)]
        self.given_up: set[int] = set()
        self.reset()

    def reset(self) -> None:
        """Empties it; rows that were given up stay out of use."""
        self.samples: list[Sample] = []
        self.free = [row for row in range(len(self.rows))[::-1] if row not in self.given_up]
        self.decoding = 0
        self.closed_by: CloseReason | None = None
        self.oldest_mono_s = 0.0
        self.deadline_mono_s: float | None = None
