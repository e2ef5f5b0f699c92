from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from trainer.evaluate import Predictions
from trainer.evaluate_values import ValuesEvaluation

PAIRS = st.lists(
    st.tuples(st.floats(-100, 100, width=32), st.floats(-100, 100, width=32)),
    min_size=1,
    max_size=20,
)


def of(*columns: list[tuple[float, float]]) -> Predictions:
    """Of pairs of what a value is and what the network said, a column for each value."""
    targets_nk = torch.tensor([[true for true, _ in column] for column in columns]).T
    said_nk = torch.tensor([[said for _, said in column] for column in columns]).T
    labels = tuple(f"v{index}" for index in range(len(columns)))
    return Predictions(labels, said_nk.reshape(-1, len(labels)), targets_nk, "regression")


def test_figures_are_those_worked_out_by_hand():
    speeds = [(1.0, 2.0), (2.0, 2.0), (3.0, 2.0), (4.0, 3.0)]  # off by 1, 0, 1, 1; spread 5
    steady = [(7.0, 9.0)] * 4
    evaluation = ValuesEvaluation.of(of(speeds, steady))
    speed, other = evaluation.scores
    assert (speed.mae, speed.rmse) == pytest.approx((3 / 4, math.sqrt(3 / 4)))
    assert speed.r2 == pytest.approx(1 - 3 / 5)
    assert (other.mae, other.rmse, other.r2) == pytest.approx((2, 2, None))
    assert evaluation.loss == pytest.approx((3 + 16) / 8)
    assert evaluation.figures == pytest.approx(
        {"mae": (3 + 8) / 8, "rmse": math.sqrt(19 / 8), "r2": 2 / 5}
    )


def test_values_that_never_differ_have_no_share_of_variance():
    assert ValuesEvaluation.of(of([(1.0, 1.0)] * 3)).figures == {"mae": 0, "rmse": 0}


def test_worse_than_the_mean_is_below_zero():
    r2 = ValuesEvaluation.of(of([(0.0, 9.0), (1.0, -9.0)])).r2
    assert r2 is not None
    assert r2 < 0


@given(PAIRS, st.integers(0, 20))
def test_the_loss_is_the_mean_squared_error_also_in_parts(
    pairs: list[tuple[float, float]], cut: int
):
    whole = of(pairs)
    loss = functional.mse_loss(whole.logits_nk.double(), whole.targets.double()).item()
    evaluation = ValuesEvaluation.of(whole)
    assert evaluation.loss == pytest.approx(loss)
    assert evaluation.mae <= evaluation.rmse * (1 + 1e-9)
    together = (
        ValuesEvaluation.of(of(pairs[:cut]), of(pairs[cut:])) if 0 < cut < len(pairs) else None
    )
    assert together is None or together == evaluation


def test_no_samples_give_zeros():
    empty = Predictions(("v",), torch.zeros(0, 1), torch.zeros(0, 1), "regression")
    assert ValuesEvaluation.of(empty).figures == {"mae": 0, "rmse": 0}
