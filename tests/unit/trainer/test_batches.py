from __future__ import annotations

import os
import signal
from itertools import chain
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from pipeline.errors import ConfigError, HeadraceError
from pipeline.preprocess import PreprocessSpec
from trainer.batches import TrainingBatches, epoch_order, naming_lost_workers
from trainer.data import DigitsData, Samples, SplitData
from trainer.distributed import Ranks
from trainer.settings import FitSettings
from trainer.steps import StepPlan

ALONE = Ranks()
SPEC = PreprocessSpec(width=24, height=24)


def batches_of(samples: Samples, ranks: Ranks = ALONE, **changed: Any) -> TrainingBatches:
    return TrainingBatches(samples, FitSettings(**{"batch_size": 64, **changed}), ranks)


def contents(batches: TrainingBatches, *epoch_seeds: int) -> list[tuple[bytes, list[int]]]:
    return [
        (batch_nhwc.numpy().tobytes(), classes.tolist())
        for seed in epoch_seeds
        for batch_nhwc, classes in batches.epoch(seed)
    ]


@given(st.integers(1, 300), st.integers(0, 2**40))
def test_the_order_is_that_of_torchs_own_shuffled_loader(samples: int, seed: int):
    generator = torch.Generator().manual_seed(seed)
    loader = DataLoader(
        torch.arange(samples),  # pyright: ignore[reportArgumentType]
        batch_size=None,
        shuffle=True,
        generator=generator,
    )
    assert epoch_order(samples, seed) == [int(index) for index in loader]


@pytest.mark.parametrize(
    "changed",
    [{}, {"augment": ("crop", "flip", "color", "noise")}, {"balance": "sampling"}],
    ids=["plain", "augmented", "balanced"],
)
def test_an_epochs_batches_depend_on_its_seed_alone(few_digits: SplitData, changed: dict[str, Any]):
    alone = batches_of(few_digits.train, **changed)
    first, second = contents(alone, 1), contents(alone, 2)
    assert first != second
    assert contents(batches_of(few_digits.train, **changed), 2) == second  # as after a resume
    with_workers = batches_of(few_digits.train, workers=2, **changed)
    assert contents(with_workers, 1, 2) == first + second


def test_preparing_batches_leaves_what_dropout_depends_on_alone(few_digits: SplitData):
    before = torch.get_rng_state()
    contents(batches_of(few_digits.train, augment=("noise",), balance="sampling"), 1)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_sample_that_is_drawn_twice_is_changed_in_two_ways():
    twins = DigitsData(SPEC, "train", 1)
    both = [batch for _ in range(2) for batch, _ in batches_of(twins, augment=("noise",)).epoch(3)]
    assert torch.equal(both[0], both[1])
    ((batch, _),) = batches_of(_Again(twins), augment=("noise",)).epoch(3)
    assert not torch.equal(batch[0], batch[1])


class _Again(Samples):
    """One sample, twice."""

    def __init__(self, samples: Samples) -> None:
        self._samples, self.labels = samples, samples.labels

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Any:
        return self._samples[0]

    @property
    def digest(self) -> str:
        return ""


def test_a_last_batch_of_one_sample_is_left_out(few_digits: SplitData):
    def sizes(batch_size: int) -> list[int]:
        batches = batches_of(few_digits.train, batch_size=batch_size)
        found = [len(classes) for _, classes in contents(batches, 0)]
        assert sum(found) == batches.samples
        return found

    assert sizes(299) == [299]
    assert sizes(149) == [149, 149, 2]
    assert sizes(400) == [300]


@pytest.mark.parametrize(
    ("samples", "shares"),
    [(66, [32]), (67, [32]), (68, [32, 2]), (69, [32, 2]), (128, [32, 32]), (3, [1])],
)
def test_a_last_batch_has_two_samples_for_each_process_or_is_left_out(
    samples: int, shares: list[int]
):
    batches = batches_of(_Numbers(samples), Ranks(1, 2))
    assert [len(numbers) for _, numbers in contents(batches, 0)] == shares
    plan = StepPlan(batches.samples, batch_size=64)
    assert plan.batches == len(shares)
    assert plan.in_batch(1) == min(64, samples)


@given(st.integers(1, 90), st.integers(1, 9), st.integers(1, 20), st.integers(0, 99))
def test_the_ranks_have_the_batches_of_one_process_between_them(
    samples: int, ranks: int, size: int, seed: int
):
    size = max(size, ranks)
    data = _Numbers(samples)
    whole = [numbers for _, numbers in contents(batches_of(data, batch_size=size), seed)]
    shares = [
        [
            numbers
            for _, numbers in contents(batches_of(data, Ranks(rank, ranks), batch_size=size), seed)
        ]
        for rank in range(ranks)
    ]
    rest = samples % size
    if samples > size and 0 < rest < 2 * ranks:
        whole = whole[: samples // size]
    assert {len(share) for share in shares} == {len(whole)}
    for batch, numbers in enumerate(whole):
        own = [
            share[batch] if Ranks(rank, ranks).part(len(numbers)) else []
            for rank, share in enumerate(shares)
        ]
        assert sorted(chain.from_iterable(own)) == sorted(numbers)
        parts = [Ranks(rank, ranks).part(len(numbers)) for rank in range(ranks)]
        assert sum(parts) == pytest.approx(1.0)
        assert [len(each) / len(numbers) for each in own] == pytest.approx(parts)
        assert all(share[batch] for share in shares)  # a rank without a part learns from something


class _Numbers(Samples):
    """Samples whose target is their number."""

    def __init__(self, count: int) -> None:
        self._count, self.labels = count, ("a",)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.zeros(1, 1, 3, dtype=torch.uint8), index

    @property
    def digest(self) -> str:
        return ""


def test_a_batch_that_is_too_small_for_all_processes_is_refused(few_digits: SplitData):
    with pytest.raises(ConfigError, match=r"--batch-size is 3, expected .* the 4 processes"):
        batches_of(few_digits.train, Ranks(1, 4), batch_size=3)


class _Deadly(_Numbers):
    """Ends the process that asks for sample 0, or fails there."""

    def __init__(self, fails: bool) -> None:
        super().__init__(8)
        self._fails = fails

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        if index == 0 and self._fails:
            raise HeadraceError("a.jpg could be read: at the start")
        if index == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


def test_a_worker_that_dies_is_an_error_that_says_what_to_do():
    with (
        pytest.raises(HeadraceError, match=r"is gone: .*/dev/shm.*fewer --workers"),
        naming_lost_workers(),
    ):
        contents(batches_of(_Deadly(fails=False), workers=1), 1)


def test_a_known_error_in_a_worker_is_that_error_without_its_traceback():
    with pytest.raises(HeadraceError) as caught, naming_lost_workers():
        contents(batches_of(_Deadly(fails=True), workers=1), 1)
    assert str(caught.value) == "a.jpg could be read: at the start"


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match=r"^mine$"), naming_lost_workers():
        raise RuntimeError("mine")
    with pytest.raises(HeadraceError, match=r"^two\nlines: here$"), naming_lost_workers():
        raise HeadraceError("two\nlines: here")
