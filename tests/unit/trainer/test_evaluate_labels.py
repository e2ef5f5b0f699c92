from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from trainer.evaluate import ECE_BINS, ClassScore, Predictions
from trainer.evaluate_labels import LabelsEvaluation

LABELS = ("cat", "dog", "bird")
ROWS = st.lists(
    st.tuples(
        st.lists(st.booleans(), min_size=3, max_size=3),
        st.lists(st.floats(-6, 6, width=32), min_size=3, max_size=3),
    ),
    max_size=20,
)


def of(rows: list[tuple[list[bool], list[float]]]) -> Predictions:
    """Of pairs of what is there and the logits."""
    logits_nk = torch.tensor([logits for _, logits in rows]).reshape(-1, 3)
    targets_nk = torch.tensor([there for there, _ in rows], dtype=torch.float32).reshape(-1, 3)
    return Predictions(LABELS, logits_nk, targets_nk, "multi-label")


def by_hand() -> LabelsEvaluation:
    """cat: given 3 times, there 3 times, 2 of them; dog: there once, never given; bird: never
    there, given once."""
    return LabelsEvaluation.of(
        of(
            [
                ([True, False, False], [4.0, -4.0, -4.0]),
                ([True, True, False], [4.0, -4.0, -4.0]),
                ([False, False, False], [4.0, -4.0, 4.0]),
                ([True, False, False], [-4.0, -4.0, -4.0]),
            ]
        )
    )


def test_figures_are_those_worked_out_by_hand():
    evaluation = by_hand()
    assert evaluation.scores == (
        ClassScore("cat", samples=3, predicted=3, correct=2),
        ClassScore("dog", samples=1, predicted=0, correct=0),
        ClassScore("bird", samples=0, predicted=1, correct=0),
    )
    assert (evaluation.samples, evaluation.exact_match) == (4, 1 / 4)
    # A label that no sample has counts in none of the means.
    assert evaluation.macro_precision == pytest.approx((2 / 3 + 0) / 2)
    assert evaluation.macro_recall == pytest.approx((2 / 3 + 0) / 2)
    assert evaluation.macro_f1 == pytest.approx((2 / 3 + 0) / 2)
    assert evaluation.figures == {
        "macro_f1": evaluation.macro_f1,
        "macro_precision": evaluation.macro_precision,
        "macro_recall": evaluation.macro_recall,
        "exact_match": 0.25,
        "ece": evaluation.ece,
    }


def test_the_calibration_error_is_of_every_label_of_every_sample():
    sure = torch.tensor(4.0).sigmoid().item()
    # At 98 %: four, of which two are there. At 2 %: eight, of which two are there.
    expected = (abs(2 - 4 * sure) + abs(2 - 8 * (1 - sure))) / 12
    evaluation = by_hand()
    assert evaluation.ece == pytest.approx(expected, abs=1e-6)
    assert [each.samples for each in evaluation.bins] == [8, *[0] * (ECE_BINS - 2), 4]


@given(ROWS)
def test_the_loss_is_the_mean_binary_cross_entropy(rows: list[tuple[list[bool], list[float]]]):
    predictions = of(rows)
    loss = LabelsEvaluation.of(predictions).loss
    if not rows:
        assert loss == 0
        return
    expected = functional.binary_cross_entropy_with_logits(
        predictions.logits_nk, predictions.targets
    )
    assert loss == pytest.approx(expected.item(), rel=1e-4, abs=1e-6)


@given(ROWS, st.integers(0, 20))
def test_counts_are_those_of_a_walk_over_the_samples(
    rows: list[tuple[list[bool], list[float]]], cut: int
):
    parts = of(rows[:cut]), of(rows[cut:])
    evaluation = LabelsEvaluation.of(*parts)
    for index, score in enumerate(evaluation.scores):
        there = [row[0][index] for row in rows]
        given_ = [row[1][index] > 0 for row in rows]
        assert score.samples == sum(there)
        assert score.predicted == sum(given_)
        assert score.correct == sum(a and b for a, b in zip(there, given_, strict=True))
    exact = sum(there == [logit > 0 for logit in logits] for there, logits in rows)
    assert (evaluation.samples, evaluation.exact) == (len(rows), exact)
    assert sum(each.samples for each in evaluation.bins) == 3 * len(rows)
    assert 0 <= evaluation.ece <= 1


def test_no_samples_give_zeros():
    evaluation = LabelsEvaluation.of(of([]))
    assert set(evaluation.figures.values()) == {0}
