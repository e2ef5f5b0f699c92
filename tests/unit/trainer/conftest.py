from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from pipeline.preprocess import PreprocessSpec
from trainer.data import DigitsData, SplitData

SPEC = PreprocessSpec(width=24, height=24)


@pytest.fixture(scope="session")
def few_digits() -> SplitData:
    """Enough to see weights change, not enough to learn well."""
    return SplitData(DigitsData(SPEC, "train", 300), DigitsData(SPEC, "heldout", 100), SPEC)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums in one order, as bit-for-bit equality needs; two would stall on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
