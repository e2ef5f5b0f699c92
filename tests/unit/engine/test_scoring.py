"""What a result says of a network's outputs, by task."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.engine.scoring import answers_of, named_values, sigmoid_nk, softmax_nk

FLOATS = st.floats(-(2.0**100), 2.0**100, width=32)
OUTPUTS = arrays(np.float32, st.tuples(st.integers(1, 5), st.just(3)), elements=FLOATS)
LABELS = ("a", "b", "c")


def test_each_label_of_a_multi_label_model_has_a_confidence_of_its_own() -> None:
    logits_nk = np.array([[0, 2, -1, 2, 3, -4]], np.float32)
    (best,), values = answers_of("multi-label", logits_nk, tuple("abcdef"))
    assert values == [None]
    assert [each.label for each in best] == ["e", "b", "d", "a", "c"]  # five, ties in order
    expected = 1 / (1 + np.exp(-np.array([3.0, 2.0, 2.0, 0.0, -1.0])))
    assert [each.confidence for each in best] == pytest.approx(expected.tolist(), abs=1e-6)


def test_no_logit_is_too_large_for_a_confidence() -> None:
    logits_nk = np.array([[-3e38, -100, 0, 100, 3e38]], np.float32)
    assert sigmoid_nk(logits_nk)[0].tolist() == pytest.approx([0, 0, 0.5, 1, 1], abs=1e-6)
    assert sigmoid_nk(logits_nk).dtype == np.float32


def test_a_regression_gives_its_values_by_name_in_the_models_order() -> None:
    values_nk = np.array([[0.1, -273.15, 1e-9], [1e20, 3, 0]], np.float32)
    rankings, (first, second) = answers_of("regression", values_nk, ("speed", "angle", "9"))
    assert rankings == [(), ()]
    assert first is not None
    assert list(first.items()) == [("speed", 0.1), ("angle", -273.15), ("9", 1e-9)]
    assert second == {"speed": 1e20, "angle": 3, "9": 0}


def test_a_single_label_model_is_ranked_by_its_softmax() -> None:
    logits_nk = np.array([[1, 3, 2]], np.float32)
    (best,), values = answers_of("single-label", logits_nk, LABELS)
    assert values == [None]
    assert [each.label for each in best] == ["b", "c", "a"]
    assert best[0].confidence == pytest.approx(softmax_nk(logits_nk)[0, 1])


@given(OUTPUTS)
def test_values_are_the_very_float32_that_the_network_gave(values_nk: np.ndarray) -> None:
    for row, values in zip(values_nk, named_values(values_nk, LABELS), strict=True):
        read_back = json.loads(json.dumps(values))
        assert [np.float32(read_back[label]) for label in LABELS] == row.tolist()


@given(OUTPUTS)
def test_labels_are_sorted_by_confidence_and_above_a_half_by_their_logits_sign(
    logits_nk: np.ndarray,
) -> None:
    rankings, _ = answers_of("multi-label", logits_nk, LABELS)
    for row, best in zip(logits_nk, rankings, strict=True):
        confidences = [each.confidence for each in best]
        assert confidences == sorted(confidences, reverse=True)
        for each in best:
            assert 0 <= each.confidence <= 1
            if abs(row[each.class_id]) > 1e-6:
                assert (each.confidence > 0.5) == (row[each.class_id] > 0)
