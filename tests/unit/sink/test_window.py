from __future__ import annotations

import pytest

from pipeline.sink.window import RecentAges, RecentRate, RecentTruth


def test_a_steady_stream_has_its_rate_however_long_it_runs():
    rate = RecentRate(span_s=5.0, slots=20)
    for frame in range(3000):
        rate.add(1, 1000.0 + frame / 100)
    assert rate.per_s(1030.0) == pytest.approx(100, rel=0.02)


def test_a_stream_that_just_began_is_measured_over_the_time_it_runs():
    rate = RecentRate(span_s=5.0, slots=20)
    for frame in range(100):
        rate.add(1, 1000.0 + frame / 100)
    assert rate.per_s(1001.0) == pytest.approx(100, rel=0.02)


def test_a_stream_that_stopped_falls_to_zero():
    rate = RecentRate(span_s=5.0, slots=20)
    assert rate.per_s(1000.0) == 0
    rate.add(50, 1000.0)
    assert rate.per_s(1006.0) == 0
    assert rate.per_s(100_000.0) == 0


def test_the_first_frame_makes_no_absurd_rate():
    rate = RecentRate(span_s=5.0, slots=20)
    rate.add(1, 1000.0)
    assert rate.per_s(1000.0) <= 4


def test_ages_out_of_the_window_or_beyond_the_capacity_are_forgotten():
    ages = RecentAges(span_s=10.0, capacity=100)
    assert ages.quantiles_s((0.5,), 1000.0) is None
    for _ in range(50):
        ages.add(9.0, 1000.0)
    for k in range(101):
        ages.add(k / 100, 1001.0)
    assert ages.quantiles_s((0.5, 1.0), 1001.0) == pytest.approx((0.505, 1.0))
    assert ages.quantiles_s((0.5,), 1012.0) is None


def test_accuracy_is_over_the_last_frames_only():
    truth = RecentTruth(capacity=4)
    assert truth.accuracy is None
    for is_right in [False] * 10 + [True, True, True, False]:
        truth.add(is_right)
    assert (truth.frames, truth.accuracy) == (4, 0.75)
