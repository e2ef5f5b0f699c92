from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from trainer.checkpoint import load_tensors, save_tensors
from trainer.randomness import random_state, restore_random_state, seed_all


def draw() -> tuple[list[float], list[float], list[float]]:
    # A normal pair is drawn at once and the second kept: that one is state as well.
    numbers = [random.gauss(0, 1) for _ in range(3)]
    return torch.randn(3).tolist(), np.random.standard_normal(3).tolist(), numbers


def test_one_seed_gives_the_numbers_of_all_generators_again():
    seed_all(5)
    first = draw()
    seed_all(5)
    assert draw() == first
    seed_all(6)
    assert all(mine != theirs for mine, theirs in zip(draw(), first, strict=True))


@pytest.mark.parametrize("seed", [0, 2**32, 2**63 - 1])
def test_numpy_takes_large_seeds_too(seed: int):
    seed_all(seed)


def test_the_state_goes_through_a_checkpoint_that_runs_no_code(tmp_path: Path):
    seed_all(7)
    draw()
    save_tensors(tmp_path / "state.pt", random_state())
    expected = draw()
    seed_all(8)
    restore_random_state(load_tensors(tmp_path / "state.pt"))
    assert draw() == expected
