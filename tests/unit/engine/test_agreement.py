"""When a candidate and the active model say the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.engine.agreement import TOLERANCE, agree
from pipeline.types import Task

OUTPUTS = arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.just(3)),
    elements=st.floats(allow_nan=True, allow_infinity=True, width=32),
)
TASKS = st.sampled_from(["single-label", "multi-label", "regression"])


def says_the_same(task: Task, ours: list[float], theirs: list[float]) -> bool:
    ours_nk, theirs_nk = (np.array([row], np.float32) for row in (ours, theirs))
    agreeing = agree(task, ours_nk, theirs_nk)
    assert agreeing.shape == (1,)
    return bool(agreeing[0])


def test_classes_agree_by_the_best_one_alone() -> None:
    assert says_the_same("single-label", [1, 3, 2], [-5, 0.1, 0])
    assert not says_the_same("single-label", [1, 3, 2], [1, 3, 4])


def test_labels_agree_where_the_same_ones_are_above_a_half() -> None:
    assert says_the_same("multi-label", [5, -1, 0.1], [0.1, -9, 7])
    assert not says_the_same("multi-label", [5, -1, 0.1], [5, -1, -0.1])
    assert not says_the_same("multi-label", [5, -1, 0.1], [5, 0.2, 0.1])


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        (100.0, 109.0, True),
        (100.0, 111.0, False),
        (-100.0, -91.0, True),
        (-100.0, 100.0, False),
        (0.0, 0.09, True),
        (0.0, -0.11, False),
        (0.5, 0.62, False),
    ],
)
def test_values_agree_within_a_tenth_of_the_active_models(
    ours: float, theirs: float, same: bool
) -> None:
    assert TOLERANCE == 0.1
    assert says_the_same("regression", [7.0, ours], [7.0, theirs]) is same


@given(TASKS, OUTPUTS)
def test_whatever_the_numbers_each_row_gets_an_answer_without_a_warning(
    task: Task, outputs_nk: np.ndarray
) -> None:
    agreeing = agree(task, outputs_nk, outputs_nk[::-1])
    assert (agreeing.shape, agreeing.dtype) == ((len(outputs_nk),), np.dtype(bool))


@given(TASKS, OUTPUTS)
def test_a_model_agrees_with_itself(task: Task, outputs_nk: np.ndarray) -> None:
    has_numbers = np.isfinite(outputs_nk).all(axis=1)
    assert agree(task, outputs_nk, outputs_nk)[has_numbers].all()
