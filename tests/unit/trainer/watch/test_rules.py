from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.watch.rules import Drift, Rules, reason_to_train

RULES = Rules(least_new=100, drift=0.25, every=500, pause_s=60)
FAR, NEAR = Drift("brightness", 0.9), Drift("confidence", 0.1)


@pytest.mark.parametrize(
    ("new", "drift", "since_s", "why"),
    [
        (100, FAR, math.inf, "brightness has drifted (0.90), and 100 new labels are there"),
        (100, Drift("labels", 0.25), 60, "labels has drifted (0.25), and 100 new labels are there"),
        (500, None, 60, "500 new labels are there"),
        (500, NEAR, 60, "500 new labels are there"),
        (99, FAR, math.inf, ""),  # too few to learn from
        (900, FAR, 59.9, ""),  # too soon after the last
        (499, NEAR, math.inf, ""),
        (499, None, math.inf, ""),
    ],
)
def test_a_training_needs_labels_a_pause_and_a_reason(
    new: int, drift: Drift | None, since_s: float, why: str
) -> None:
    assert reason_to_train(RULES, new, drift, since_s) == why


@given(st.integers(0, 10_000), st.floats(0, 10), st.floats(0, 1e6))
def test_without_drift_and_a_number_of_labels_it_never_trains(
    new: int, index: float, since_s: float
) -> None:
    rules = Rules(every=None, drift=0.25)
    drifted = Drift("brightness", min(index, 0.2499))
    assert reason_to_train(rules, new, drifted, since_s) == ""
    assert reason_to_train(rules, new, None, since_s) == ""
