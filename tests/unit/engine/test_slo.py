"""Batches that are as large as a goal for the frames' time allows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.slo import SloControl

INFER_S = {1: 0.01, 2: 0.012, 4: 0.02, 8: 0.04, 16: 0.08}


def _control(slo_s: float) -> SloControl:
    control = SloControl(slo_s)
    control.use(INFER_S)
    return control


def _note(
    control: SloControl,
    time_s: float,
    at_s: float,
    *,
    frames: int = 32,
    queued_s: float = 0.0,
    slow: float = 1.0,
) -> bool:
    """A batch of eight buckets' time, whose frames all took so long."""
    queued, times = [queued_s] * frames, [time_s] * frames
    return control.note(8, INFER_S[8] * slow, queued, times, at_s)


def _window(control: SloControl, time_s: float, at_s: float, queued_s: float = 0.0) -> bool:
    _note(control, time_s, at_s, queued_s=queued_s)
    return _note(control, time_s, at_s + 0.25, queued_s=queued_s)


def _most(control: SloControl) -> int:
    return control.limits(16).most_frames


def test_a_bucket_may_take_half_of_the_goal_and_the_wait_what_it_leaves() -> None:
    limits = _control(0.1).limits(16)
    assert limits.most_frames == 8
    assert limits.most_wait_s == pytest.approx(0.06)
    assert _most(_control(0.2)) == 16
    assert _most(_control(9.0)) == 16


def test_buckets_beyond_what_the_model_may_run_are_left_out_and_leave_more_time() -> None:
    limits = _control(0.1).limits(4)
    assert limits.most_frames == 4
    assert limits.most_wait_s == pytest.approx(0.08)


def test_a_goal_that_nothing_can_keep_leaves_frames_alone_and_has_none_wait() -> None:
    limits = _control(0.005).limits(16)
    assert (limits.most_frames, limits.most_wait_s) == (1, 0.0)


def test_missed_goals_shrink_the_budget_and_kept_ones_let_it_grow_again() -> None:
    control = _control(0.1)
    sizes: list[int] = []
    for window in range(4):
        assert _window(control, 0.15, window)
        sizes.append(_most(control))
    assert sizes == [4, 4, 4, 2]
    for window in range(4, 30):
        _window(control, 0.05, window)
    assert _most(control) == 8


def test_where_frames_wait_to_be_decoded_batches_grow_beyond_the_goal_until_they_do_not() -> None:
    control = _control(0.1)
    for window in range(4):
        _window(control, 0.15, window)
    assert _most(control) == 2
    for window in range(4, 40):
        _window(control, 0.15, window, queued_s=0.03)
    assert _most(control) == 16
    sizes = {_most(control) for at in range(40, 100) if _window(control, 0.15, at)}
    assert sizes == {8}  # and not far below: there it was behind


def test_batches_that_take_longer_than_when_they_were_warmed_make_buckets_smaller() -> None:
    control = _control(0.1)
    for batch in range(30):
        _note(control, 0.05, batch * 0.1, slow=2.0)
    assert _most(control) == 4


def test_a_bucket_that_the_model_was_not_warmed_for_says_nothing_of_its_speed() -> None:
    control = _control(0.1)
    control.note(32, 9.0, [0.0], [0.01], 0.0)
    assert _most(control) == 8


def test_one_late_frame_in_a_hundred_is_within_the_goal() -> None:
    control = _control(0.1)
    control.note(8, 0.04, [0.0] * 100, [0.05] * 99 + [3.0], 0.0)
    control.note(8, 0.04, [0.0], [0.05], 1.0)
    assert _most(control) == 8


def test_a_handful_of_frames_or_a_moment_says_nothing_and_five_seconds_do() -> None:
    few = _control(0.1)
    assert not _note(few, 9.0, 0.0, frames=3)
    assert not _note(few, 9.0, 4.9, frames=3)
    assert _note(few, 9.0, 5.0, frames=3)
    busy = _control(0.1)
    assert not _note(busy, 9.0, 0.0, frames=500)
    assert not _note(busy, 9.0, 0.2, frames=500)


def test_a_burst_after_a_pause_is_no_window_by_itself() -> None:
    control = _control(0.1)
    assert _window(control, 0.05, 0.0)
    assert not _note(control, 9.0, 100.0, frames=200)


def test_another_model_begins_a_window_of_its_own() -> None:
    control = _control(0.1)
    _note(control, 9.0, 0.0, slow=9.0, frames=60)
    control.use({1: 0.001, 16: 0.01})
    assert not _note(control, 0.01, 0.3, frames=60)
    assert _most(control) == 16


@given(
    slo_s=st.floats(1e-9, 1e9),
    windows=st.lists(st.tuples(st.floats(0.0, 100.0), st.floats(0.0, 100.0)), max_size=40),
    most=st.integers(1, 64),
)
def test_limits_are_always_some_bucket_and_no_wait_is_beyond_the_goal(
    slo_s: float, windows: list[tuple[float, float]], most: int
) -> None:
    control = _control(slo_s)
    for number, (time_s, queued_s) in enumerate(windows):
        _window(control, time_s, number, queued_s)
        limits = control.limits(most)
        assert limits.most_frames in INFER_S
        assert limits.most_frames <= most
        assert 0.0 <= limits.most_wait_s <= slo_s
