from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipeline.preprocess import PreprocessSpec
from trainer.data import Samples, SplitData
from trainer.watch.mix import with_replay

SPEC = PreprocessSpec(width=2, height=2)


class Numbered(Samples):
    """Samples whose class is their number, from ``first`` on."""

    labels = ("a", "b")

    def __init__(self, first: int, count: int) -> None:
        self._numbers = range(first, first + count)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.zeros(2, 2, 3, dtype=torch.uint8), self._numbers[index]

    @property
    def digest(self) -> str:
        return f"{self._numbers}"


def split(first: int, train: int, heldout: int) -> SplitData:
    return SplitData(Numbered(first, train), Numbered(first + 500, heldout), SPEC)


def numbers(samples: Samples) -> list[int]:
    return [samples[index][1] for index in range(len(samples))]


@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from([0.0, 0.25, 0.5, 0.8]))
def test_all_of_the_recent_and_a_share_of_the_old(recent: int, old: int, share: float) -> None:
    mixed = with_replay(split(0, recent, 5), split(1000, old, 5), share, seed=3)
    got = numbers(mixed.train)
    assert got[:recent] == list(range(recent))
    replayed = got[recent:]
    assert len(set(replayed)) == len(replayed) == min(old, round(recent * share / (1 - share)))
    assert all(1000 <= number < 1000 + old for number in replayed)
    assert all(number % 1000 >= 500 for number in numbers(mixed.heldout))  # held out stays so


def test_which_are_replayed_depends_on_the_seed_alone_and_is_in_the_digest() -> None:
    recent, old = split(0, 10, 5), split(1000, 50, 5)
    first, again, other = (with_replay(recent, old, 0.5, seed=seed) for seed in (1, 1, 2))
    assert numbers(first.train) == numbers(again.train) != numbers(other.train)
    assert first.digest == again.digest != other.digest


def test_without_old_data_the_recent_is_all() -> None:
    recent = split(0, 10, 5)
    assert with_replay(recent, None, 0.5, seed=1) is recent


def test_an_index_beyond_the_end_is_an_error_as_iteration_needs_it() -> None:
    mixed = with_replay(split(0, 3, 5), split(1000, 3, 5), 0.5, seed=1).train
    assert len(list(mixed)) == len(mixed) == 6  # pyright: ignore[reportArgumentType]
    with pytest.raises(IndexError):
        mixed[6]
