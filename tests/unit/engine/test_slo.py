"""Batches that are as large as a goal for the frames' time allows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.batch import BatchLimits
from pipeline.engine.slo import SloControl

INFER_S = {1: 0.01, 2: 0.012, 4: 0.02, 8: 0.04, 16: 0.08}


def _window(control: SloControl, time_s: float, at_s: float) -> bool:
    """A quarter of a second of frames that all take so long."""
    control.note([time_s] * 32, at_s)
    return control.note([time_s] * 32, at_s + 0.25)


def test_a_bucket_may_take_half_of_the_goal_and_the_wait_what_it_leaves() -> None:
    assert SloControl(0.1).limits(INFER_S) == BatchLimits(8, pytest.approx(0.06))
    assert SloControl(0.2).limits(INFER_S).most_frames == 16
    assert SloControl(9.0).limits(INFER_S).most_frames == 16


def test_a_goal_that_nothing_can_keep_leaves_frames_alone_and_has_none_wait() -> None:
    limits = SloControl(0.005).limits(INFER_S)
    assert limits == BatchLimits(1, 0.0)


def test_missed_goals_shrink_the_budget_and_kept_ones_let_it_grow_again() -> None:
    control = SloControl(0.1)
    sizes: list[int] = []
    for window in range(4):
        assert _window(control, 0.15, window)
        sizes.append(control.limits(INFER_S).most_frames)
    assert sizes == [4, 4, 4, 2]
    for window in range(4, 30):
        _window(control, 0.05, window)
    assert control.limits(INFER_S).most_frames == 8
    assert not _window(control, 0.05, 31.0)


def test_one_late_frame_in_a_hundred_is_within_the_goal() -> None:
    control = SloControl(0.1)
    control.note([0.05] * 99 + [3.0], 0.0)
    control.note([], 1.0)
    assert control.limits(INFER_S).most_frames == 8


def test_a_handful_of_frames_or_a_moment_says_nothing() -> None:
    control = SloControl(0.1)
    assert not control.note([9.0] * 63, 0.0)
    assert not control.note([], 9.0)
    assert control.note([9.0], 9.1)
    busy = SloControl(0.1)
    assert not busy.note([9.0] * 500, 0.0)
    assert not busy.note([9.0] * 500, 0.2)


@given(
    slo_s=st.floats(0.001, 60.0),
    times_s=st.lists(st.floats(0.0, 100.0), max_size=60),
)
def test_limits_are_always_some_bucket_and_no_wait_is_beyond_the_goal(
    slo_s: float, times_s: list[float]
) -> None:
    control = SloControl(slo_s)
    for number, time_s in enumerate(times_s):
        _window(control, time_s, number)
        limits = control.limits(INFER_S)
        assert limits.most_frames in INFER_S
        assert 0.0 <= limits.most_wait_s <= slo_s
