"""The digits' pictures with targets of each task: real samples that a small network can learn."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from pipeline.digits import Split
from pipeline.preprocess import PreprocessSpec
from pipeline.types import Task
from trainer.data import DigitsData, Samples, SplitData

SPEC = PreprocessSpec(width=24, height=24)

LABELS_OF: dict[Task, tuple[str, ...]] = {
    "single-label": tuple("0123456789"),
    "multi-label": ("even", "above four", "has a loop"),
    "regression": ("digit", "brightness"),
}
_WITH_A_LOOP = (0, 6, 8, 9)


class DigitsOfTask(Samples):
    """``multi-label``: is the digit even, above four, has it a loop; ``regression``: its ninth
    part, and the picture's mean brightness, 0 to 1."""

    def __init__(self, digits: DigitsData, task: Task) -> None:
        self.labels = LABELS_OF[task]
        self.task = self._asked = task
        self._digits = digits

    def __len__(self) -> int:
        return len(self._digits)

    def __getitem__(self, index: int) -> tuple[Tensor, int | Tensor]:
        sample_hwc, digit = self._digits[index]
        if self._asked == "single-label":
            return sample_hwc, digit
        if self._asked == "multi-label":
            there = (digit % 2 == 0, digit > 4, digit in _WITH_A_LOOP)
            return sample_hwc, torch.tensor(there, dtype=torch.float32)
        return sample_hwc, torch.tensor((digit / 9, sample_hwc.float().mean().item() / 255))

    @property
    def digest(self) -> str:
        return self._digits.digest


@functools.cache
def _rendered(split: Split, count: int) -> DigitsData:
    return DigitsData(SPEC, split, count)


def digits_of(task: Task, train: int = 300, heldout: int = 100) -> SplitData:
    """So many samples to learn from, and to be judged by."""
    return SplitData(
        DigitsOfTask(_rendered("train", train), task),
        DigitsOfTask(_rendered("heldout", heldout), task),
        SPEC,
    )
