from __future__ import annotations

import numpy as np
import pytest

from pipeline.engine.scoring import best_predictions
from pipeline.opencv import cv2
from pipeline.statistics import (
    CONFIDENCE_BINS,
    Bins,
    InputTally,
    ScoreTally,
    Tally,
    input_statistics,
)


def batch(count: int, height: int = 24, width: int = 20) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, height, width, 3), np.uint8)


def test_each_samples_statistics_are_those_that_numpy_computes_one_by_one():
    batch_nhwc = batch(5)
    seen = input_statistics(batch_nhwc)
    for number, sample_hwc in enumerate(batch_nhwc):
        grey = cv2.cvtColor(sample_hwc, cv2.COLOR_RGB2GRAY).astype(np.float64)
        steps = (np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()) / 2
        assert seen.brightness_n[number] == pytest.approx(grey.mean(), rel=1e-6)
        assert seen.contrast_n[number] == pytest.approx(grey.std(), rel=1e-5)
        assert seen.sharpness_n[number] == pytest.approx(np.log2(1 + steps), rel=1e-6)


def test_a_samples_statistics_do_not_depend_on_its_neighbours():
    batch_nhwc = batch(7)
    together = input_statistics(batch_nhwc)
    alone = input_statistics(batch_nhwc[3:4])
    assert together.brightness_n[3] == alone.brightness_n[0]
    assert together.contrast_n[3] == alone.contrast_n[0]
    assert together.sharpness_n[3] == alone.sharpness_n[0]


@pytest.mark.parametrize("shape", [(0, 8, 8, 3), (2, 1, 1, 3), (2, 1, 9, 3), (2, 9, 1, 3)])
def test_the_smallest_samples_have_statistics_too(shape: tuple[int, int, int, int]):
    seen = input_statistics(np.full(shape, 200, np.uint8))
    assert len(seen.brightness_n) == shape[0]
    assert (seen.brightness_n == 200).all()
    assert not seen.contrast_n.any()
    assert not seen.sharpness_n.any()


def test_a_picture_whose_sum_is_more_than_32_bits_hold_is_as_bright_as_it_is():
    seen = input_statistics(np.full((1, 4096, 4096, 3), 255, np.uint8))
    assert seen.brightness_n[0] == 255
    assert seen.contrast_n[0] == pytest.approx(0, abs=1e-3)


def test_a_bin_holds_its_lower_end_and_the_ends_hold_what_lies_outside():
    bins = Bins(0.0, 1.0, 4)
    values = np.array([-7.0, 0.0, 0.2499, 0.25, 0.5, 0.75, 1.0, 9.0, np.nan, np.inf])
    assert bins.counts(values).tolist() == [3, 1, 1, 3]


@pytest.mark.parametrize(
    ("low", "high", "count"),
    [(0, 0, 3), (1, 0, 3), (0, 1, 0), (0, 5e-324, 3), (-1e308, 1e308, 3)],
)
def test_bins_without_width_are_refused(low: float, high: float, count: int):
    with pytest.raises(ValueError, match="no bins"):
        Bins(low, high, count)


def test_counts_in_other_bins_are_not_mixed():
    with pytest.raises(ValueError, match="expected"):
        Tally(Bins(0, 1, 2)).merge(Tally(Bins(0, 1, 3)))
    with pytest.raises(ValueError, match="3 classes, expected 2"):
        ScoreTally(2).merge(ScoreTally(3))


def test_tallies_of_parts_merge_into_that_of_the_whole():
    batch_nhwc = batch(9)
    logits_nk = np.random.default_rng(0).normal(0, 4, (9, 3)).astype(np.float32)
    whole, parts = (InputTally(), ScoreTally(3)), (InputTally(), ScoreTally(3))
    whole[0].add(batch_nhwc)
    whole[1].add(logits_nk)
    for part in (slice(0, 2), slice(2, 9)):
        inputs, scores = InputTally(), ScoreTally(3)
        inputs.add(batch_nhwc[part])
        scores.add(logits_nk[part])
        parts[0].merge(inputs)
        parts[1].merge(scores)
    assert parts[0].samples == whole[0].samples == 9
    for name in ("brightness", "contrast", "sharpness"):
        assert getattr(parts[0], name).counts == getattr(whole[0], name).counts
        assert sum(getattr(whole[0], name).counts) == 9
    assert parts[1].confidence.counts == whole[1].confidence.counts
    assert parts[1].predicted == whole[1].predicted


def test_scores_are_counted_as_a_worker_gives_them():
    logits_nk = np.random.default_rng(1).normal(0, 3, (200, 4)).astype(np.float32)
    tally = ScoreTally(4)
    tally.add(logits_nk)
    best = [row[0] for row in best_predictions(logits_nk, tuple("abcd"))]
    assert tally.predicted == tuple(
        sum(1 for each in best if each.class_id == number) for number in range(4)
    )
    expected = CONFIDENCE_BINS.counts(np.array([each.confidence for each in best]))
    # A float32 next to a bin's end may be on its other side in float64.
    assert np.abs(np.array(tally.confidence.counts) - expected).sum() <= 2
    assert sum(tally.confidence.counts) == 200


def test_an_answer_that_is_no_number_is_not_counted():
    tally = ScoreTally(2)
    tally.add(np.array([[0.0, np.nan], [np.inf, 0.0], [9.0, 0.0]], np.float32))
    tally.add(np.empty((0, 2), np.float32))
    assert tally.predicted == (1, 0)
    assert tally.confidence.counts[-1] == 1
