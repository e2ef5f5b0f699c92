from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from pipeline.bench.felt import Ages, Pair, Span, felt

SWAPS = 20
FRAMES = 500


def one_after_the_other(slowed_by_s: Sequence[float], share: float) -> tuple[Ages, list[Pair]]:
    """A second of calm and a second of a swap in turn; in each a share of the frames is late."""
    random = np.random.default_rng(1)
    captured_at: list[float] = []
    ages_s: list[float] = []
    pairs: list[Pair] = []
    for number, late_s in enumerate(slowed_by_s):
        begin = 10.0 * number
        pairs.append(Pair(swap=Span(begin + 1, begin + 2), calm=Span(begin, begin + 1)))
        for k in range(2 * FRAMES):
            captured_at.append(begin + k / FRAMES)
            is_late = k >= FRAMES and random.random() < share
            ages_s.append(random.uniform(0.010, 0.020) + (late_s if is_late else 0))
    return Ages(captured_at[::-1], ages_s[::-1]), pairs


def test_swaps_that_nobody_feels_have_a_ratio_of_one() -> None:
    found = felt(*one_after_the_other([0] * SWAPS, share=0))
    assert found.frames_in_swaps == SWAPS * FRAMES
    for ratio in (*found.together.values(), *found.usual.values()):
        assert ratio.ratio == pytest.approx(1, abs=0.02)
        assert ratio.low <= ratio.ratio <= ratio.high


def test_frames_that_are_late_in_swaps_are_seen_where_they_are() -> None:
    found = felt(*one_after_the_other([0.030] * SWAPS, share=0.05))
    for ratios in (found.together, found.usual):
        assert ratios[0.5].ratio == pytest.approx(1, abs=0.05)
        assert ratios[0.99].ratio == pytest.approx(2.4, abs=0.1)
        assert ratios[0.99].low > 2
    assert found.calm_s[1.0] <= 0.020
    assert found.swap_s[1.0] > 0.045


def test_how_sure_a_ratio_is_depends_on_how_alike_swaps_were() -> None:
    """One bad swap of many is no proof of anything: a machine has slow moments."""
    found = felt(*one_after_the_other([0.1, *[0.0] * (SWAPS - 1)], share=1))
    assert found.together[0.99].ratio > 2
    assert found.together[0.99].low < 1.1
    assert found.usual[0.99].high < 1.1


def test_a_swap_without_frames_is_left_out_and_none_with_any_is_an_error() -> None:
    ages, pairs = one_after_the_other([0] * SWAPS, share=0)
    nothing = Pair(Span(5000, 5001), Span(4999, 5000))
    assert felt(ages, [*pairs, nothing]).frames_in_swaps == SWAPS * FRAMES
    with pytest.raises(ValueError, match="no swap with frames"):
        felt(ages, [nothing])
