from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.unit.trainer.judged import drawn, named, sure
from trainer.data import Samples, heldout_loader
from trainer.evaluate import ECE_BINS, ClassScore, Confusion, Evaluation, Predictions, predict

CPU = torch.device("cpu")
PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40)
SURE = st.lists(st.tuples(st.floats(0.51, 1), st.booleans()), max_size=40)


def of_four_classes() -> Evaluation:
    """``c`` has no samples and is named once, ``d`` has two and is never named.

    is a: 3 named a, 1 b; is b: 1 named a, 2 b, 1 c; is d: 2 named a.
    """
    pairs = [(0, 0)] * 3 + [(0, 1)] + [(1, 0)] + [(1, 1)] * 2 + [(1, 2)] + [(3, 0)] * 2
    return Evaluation.of(named("abcd", pairs))


def test_figures_are_those_worked_out_by_hand():
    evaluation = of_four_classes()
    assert evaluation.confusion_kk.tolist() == [
        [3, 1, 0, 0],
        [1, 2, 1, 0],
        [0, 0, 0, 0],
        [2, 0, 0, 0],
    ]
    assert (evaluation.samples, evaluation.accuracy) == (10, 0.5)
    a, b, _, d = evaluation.classes
    assert (a.precision, a.recall, a.f1) == pytest.approx((3 / 6, 3 / 4, 6 / 10))
    assert (b.precision, b.recall, b.f1) == pytest.approx((2 / 3, 2 / 4, 4 / 7))
    assert (d.precision, d.recall, d.f1) == (0, 0, 0)
    assert evaluation.macro_precision == pytest.approx((3 / 6 + 2 / 3 + 0) / 3)
    assert evaluation.macro_recall == pytest.approx((3 / 4 + 2 / 4 + 0) / 3)
    assert evaluation.macro_f1 == pytest.approx((6 / 10 + 4 / 7 + 0) / 3)


def test_a_class_without_samples_has_no_scores_and_no_part_in_the_means():
    score = of_four_classes().classes[2]
    assert score == ClassScore("c", samples=0, predicted=1, correct=0)
    assert (score.precision, score.recall, score.f1) == (None, None, None)


def test_the_commonest_mistakes_come_first_and_equal_ones_in_the_classes_order():
    evaluation = of_four_classes()
    assert evaluation.confusions(3) == [
        Confusion("d", "a", 2),
        Confusion("a", "b", 1),
        Confusion("b", "a", 1),
    ]
    assert len(evaluation.confusions(9)) == 4


def test_the_calibration_error_is_the_one_worked_out_by_hand():
    # Four that are 90 % sure, three of them right; two that are 62 % sure and right.
    rows = [(0.9, True)] * 3 + [(0.9, False)] + [(0.62, True)] * 2
    evaluation = Evaluation.of(sure(rows))
    assert evaluation.ece == pytest.approx((abs(3 - 3.6) + abs(2 - 1.24)) / 6, abs=1e-6)


def test_the_ends_of_a_bin_are_above_its_lower_and_at_its_upper():
    certain = Predictions(("yes", "no"), torch.tensor([[200.0, 0.0]]), torch.tensor([0]))
    even = Predictions(("yes", "no"), torch.tensor([[0.0, 0.0]]), torch.tensor([0]))
    assert [each.samples for each in Evaluation.of(certain).bins].index(1) == ECE_BINS - 1
    assert [each.samples for each in Evaluation.of(even).bins].index(1) == 7  # (7/15, 8/15]
    third = Predictions(tuple("abc"), torch.zeros(1, 3), torch.tensor([0]))
    assert [each.samples for each in Evaluation.of(third).bins].index(1) == 4  # up to 5/15


def test_the_loss_is_the_mean_cross_entropy():
    predictions = drawn(5000, temperature=2.0)
    expected = nn.functional.cross_entropy(predictions.logits_nk, predictions.targets)
    assert Evaluation.of(predictions).loss == pytest.approx(expected.item(), rel=1e-5)


def test_no_samples_give_zeros():
    evaluation = Evaluation.of(named("ab", []))
    assert (evaluation.samples, evaluation.accuracy, evaluation.loss, evaluation.ece) == (0,) * 4
    assert (evaluation.macro_precision, evaluation.macro_recall, evaluation.macro_f1) == (0, 0, 0)


def test_logits_that_are_no_numbers_are_judged_and_show():
    logits_nk = torch.tensor([[float("nan"), 0.0], [1.0, 0.0]])
    evaluation = Evaluation.of(Predictions(("yes", "no"), logits_nk, torch.tensor([0, 0])))
    assert evaluation.samples == 2
    assert evaluation.loss != evaluation.loss
    assert evaluation.ece != evaluation.ece


def test_logits_of_another_number_of_classes_are_refused():
    with pytest.raises(ValueError, match=r"\[2, 3\], expected \[2, 2\]"):
        Predictions(("yes", "no"), torch.zeros(2, 3), torch.tensor([0, 1]))


@given(PAIRS)
def test_the_matrix_counts_every_sample_once_in_its_classes_row(pairs: list[tuple[int, int]]):
    evaluation = Evaluation.of(named("abcd", pairs))
    rows = evaluation.confusion_kk.sum(1).tolist()
    assert rows == [sum(true == index for true, _ in pairs) for index in range(4)]
    assert rows == [score.samples for score in evaluation.classes]
    assert sum(rows) == evaluation.samples == len(pairs)
    right = sum(true == name for true, name in pairs)
    assert evaluation.accuracy == pytest.approx(right / max(1, len(pairs)))


@given(PAIRS)
def test_scores_are_shares_and_f1_is_the_harmonic_mean(pairs: list[tuple[int, int]]):
    for index, score in enumerate(Evaluation.of(named("abcd", pairs)).classes):
        of_it = [name for true, name in pairs if true == index]
        named_it = [true for true, name in pairs if name == index]
        if score.precision is None or score.recall is None or score.f1 is None:
            assert not of_it
            continue
        assert score.recall == pytest.approx(of_it.count(index) / len(of_it))
        if named_it:
            assert score.precision == pytest.approx(named_it.count(index) / len(named_it))
        both = score.precision + score.recall
        assert score.f1 == pytest.approx(2 * score.precision * score.recall / both if both else 0)


@given(SURE)
def test_the_calibration_error_is_between_0_and_1(rows: list[tuple[float, bool]]):
    evaluation = Evaluation.of(sure(rows))
    assert 0 <= evaluation.ece <= 1
    assert sum(each.samples for each in evaluation.bins) == len(rows)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(10, 20)), min_size=1, max_size=8))
def test_a_set_whose_confidences_are_its_shares_has_no_error(groups: list[tuple[int, int]]):
    rows = []
    for wrong, right in groups:
        share = right / (right + wrong)
        rows += [(share, True)] * right + [(share, False)] * wrong
    # float32 logits: about seven digits.
    assert Evaluation.of(sure(rows)).ece == pytest.approx(0, abs=1e-6)


@given(PAIRS, st.integers(0, 40))
def test_parts_are_judged_as_the_whole(pairs: list[tuple[int, int]], cut: int):
    parts = named("abcd", pairs[:cut]), named("abcd", pairs[cut:])
    whole, together = Evaluation.of(named("abcd", pairs)), Evaluation.of(*parts)
    assert torch.equal(whole.confusion_kk, together.confusion_kk)
    assert whole.loss == pytest.approx(together.loss)
    assert whole.ece == pytest.approx(together.ece)


class _Colours(Samples):
    """Pictures of one pixel."""

    def __init__(self, samples: int) -> None:
        generator = torch.Generator().manual_seed(samples)
        shape = (samples, 1, 1, 3)
        self.labels = ("red", "green", "blue")
        self._samples_nhwc = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
        self._classes = torch.randint(3, (samples,), generator=generator).tolist()

    def __len__(self) -> int:
        return len(self._classes)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._samples_nhwc[index], self._classes[index]

    @property
    def digest(self) -> str:
        return "colours"


class _Brightest(nn.Module):
    """One logit for each colour."""

    def forward(self, batch_nhwc: Tensor) -> Tensor:
        return batch_nhwc[:, 0, 0].float() / 50


@given(st.integers(1, 60), st.integers(1, 70))
def test_the_batch_size_changes_nothing(samples: int, batch_size: int):
    data = _Colours(samples)
    one_by_one, in_batches = (
        Evaluation.of(predict(_Brightest(), heldout_loader(data, size), data.labels, CPU))
        for size in (1, batch_size)
    )
    assert one_by_one == in_batches
    assert hash(one_by_one) == hash(in_batches)
