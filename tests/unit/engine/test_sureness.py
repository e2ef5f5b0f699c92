from __future__ import annotations

import numpy as np
import pytest

from pipeline.engine.sureness import sureness_n


def test_one_class_is_as_sure_as_its_confidence() -> None:
    logits_nk = np.log(np.array([[0.7, 0.2, 0.1], [0.4, 0.3, 0.3]], np.float32))
    assert sureness_n("single-label", logits_nk) == pytest.approx([0.7, 0.4], abs=1e-6)


def test_questions_are_as_sure_as_their_answers_on_average_yes_or_no() -> None:
    odds = np.array([[0.9, 0.1], [0.5, 0.3]])
    logits_nk = np.log(odds / (1 - odds)).astype(np.float32)
    assert sureness_n("multi-label", logits_nk) == pytest.approx([0.9, 0.6], abs=1e-6)
    assert sureness_n("multi-label", np.array([[1e30, -1e30]], np.float32)) == pytest.approx([1.0])


def test_values_are_never_unsure() -> None:
    assert sureness_n("regression", np.zeros((3, 1), np.float32)).tolist() == [1, 1, 1]
