from __future__ import annotations

import pytest

from pipeline.clock import ManualClock
from pipeline.source.lateness import MAX_DRIFT, Lateness
from pipeline.source.pacing import Pace
from pipeline.source.synthetic import DigitOptions, SyntheticSource


def test_a_frame_is_due_at_its_time_and_not_before() -> None:
    clock = ManualClock()
    pace = Pace(clock, 10.0)
    assert pace.wait(0, 0.0)
    assert not pace.wait(1, 0.0)
    clock.advance(0.1)
    assert pace.wait(1, 0.0)
    assert not pace.wait(2, 0.001)


def test_a_late_frame_was_captured_when_it_was_due() -> None:
    clock = ManualClock(now=5000.0)
    pace = Pace(clock, 10.0)
    clock.advance(1.0)
    assert pace.captured_at(3) == pytest.approx(5000.3)


def test_a_step_of_the_wall_clock_does_not_make_frames_old() -> None:
    clock = ManualClock(now=5000.0)
    pace = Pace(clock, 10.0)
    clock.advance(1.0)
    clock.step(3600.0)
    assert clock.now() - pace.captured_at(10) == pytest.approx(0.0)


def test_without_fps_every_frame_is_due_now() -> None:
    clock = ManualClock()
    pace = Pace(clock, None)
    assert pace.wait(10**9, 0.0)
    assert pace.captured_at(10**9) == clock.now()


def _digits(clock: ManualClock, max_age_s: float | None) -> SyntheticSource:
    options = DigitOptions(fps=10.0, streams=2, width=32, height=32, max_age_s=max_age_s)
    source = SyntheticSource("digits", options, clock)
    source.open()
    return source


def test_paced_digits_that_are_behind_lose_nothing() -> None:
    clock = ManualClock()
    source = _digits(clock, max_age_s=None)
    clock.advance(60.01)
    taken = [f for _ in range(100) for f in source.poll(100, 0.0)]
    assert len(taken) == 2 * 600 + 1
    assert [f.position.offset for f in taken if f.stream == "digits-1"] == list(range(600))


def test_live_digits_that_are_behind_go_on_with_the_present() -> None:
    clock = ManualClock()
    source = _digits(clock, max_age_s=0.5)
    assert [f.position.offset for f in source.poll(100, 0.0)] == [0]
    clock.advance(60.0)
    taken = source.poll(100, 0.0)
    assert [(f.stream, f.position.offset) for f in taken] == [("digits-0", 600)]
    assert not taken[0].is_stale(clock.now())


def test_a_frame_that_waited_is_late_by_its_wait() -> None:
    lateness = Lateness()
    assert lateness.observe(10.0, 1000.0) == 0.0
    assert lateness.observe(10.1, 1000.1) == pytest.approx(0.0, abs=1e-3)
    assert lateness.observe(10.2, 1003.2) == pytest.approx(3.0, abs=1e-2)
    assert lateness.observe(13.0, 1003.3) == pytest.approx(0.3, abs=1e-2)


def test_the_earliest_arrival_tells_how_late_the_others_are() -> None:
    lateness = Lateness()
    lateness.observe(10.0, 1002.0)
    lateness.observe(11.0, 1001.5)
    assert lateness.observe(12.0, 1003.0) == pytest.approx(0.5, abs=1e-2)


def test_a_slow_clock_in_the_camera_does_not_look_like_a_delay() -> None:
    lateness = Lateness()
    hours = 24
    late_s = [
        lateness.observe(second * (1 - MAX_DRIFT / 2), float(second))
        for second in range(1, hours * 3600, 9)
    ]
    assert max(late_s) < 0.01


def test_a_camera_that_starts_counting_anew_is_on_time() -> None:
    lateness = Lateness()
    lateness.observe(5000.0, 1.0)
    assert lateness.observe(0.0, 2.0) == 0.0
    assert lateness.observe(90_000.0, 3.0) == 0.0


def test_a_stream_without_times_is_never_late() -> None:
    lateness = Lateness()
    assert [lateness.observe(0.0, float(t)) for t in range(5)] == [0.0] * 5
