from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from trainer.data import DigitsData, SplitData
from trainer.fit import EpochReport, fit
from trainer.run_folder import RunFolder
from trainer.settings import FitSettings

WARM = 20
"""Epochs until allocators and caches have what they need."""

_MEBIBYTE = 2**20


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_memory_is_flat_over_epochs(tmp_path: Path, few_digits: SplitData):
    spec = few_digits.spec
    data = SplitData(DigitsData(spec, "train", 128), DigitsData(spec, "heldout", 40), spec)
    process, sizes_bytes = psutil.Process(), list[int]()

    def measure(_report: EpochReport) -> None:
        sizes_bytes.append(process.memory_info().rss)

    settings = FitSettings(
        epochs=5 * WARM, optimizer="adamw", schedule="cosine", warmup_epochs=2, clip_norm=1.0
    )
    fit(data, settings, RunFolder(tmp_path), on_epoch=measure)
    # A network, its gradient and AdamW's two moments are 5 MiB: one an epoch would be 300.
    assert max(sizes_bytes[-WARM:]) - max(sizes_bytes[:WARM]) < 8 * _MEBIBYTE
