"""What is said of rounds."""

from __future__ import annotations

import math

import pytest

from pipeline.bench.rounds import (
    Run,
    Spread,
    bucket_quantile,
    percentile,
    ratio,
    rotated,
    spread,
    spread_of,
)


def _run(frames_per_s: float, age_s: float | None = None) -> Run:
    return Run(frames=100, duration_s=100 / frames_per_s, cpu_s=0.2, age_p50_s=age_s)


def test_a_run_gives_frames_a_second_and_cpu_a_frame() -> None:
    run = Run(frames=500, duration_s=2.0, cpu_s=1.0)
    assert run.frames_per_s == 250
    assert run.cpu_ms_per_frame == 2.0
    assert (run.frames_per_batch, run.infer_ms_per_frame) == (None, None)
    batched = Run(frames=500, duration_s=2.0, cpu_s=1.0, batches=25, infer_s=0.2)
    assert (batched.frames_per_batch, batched.infer_ms_per_frame) == (20, 0.4)


def test_a_spread_is_the_middle_and_the_ends() -> None:
    assert spread([5.0, 1.0, 3.0]) == Spread(median=3.0, least=1.0, most=5.0)
    assert spread([2.0]) == Spread(2.0, 2.0, 2.0)
    with pytest.raises(ValueError, match="no values"):
        spread([])


def test_a_ratio_is_taken_within_each_round() -> None:
    # The machine is ten times slower in the second round: the ratio doesn't feel it.
    rounds = [{"w": _run(1000), "a": _run(250)}, {"w": _run(100), "a": _run(25)}]
    found = ratio(rounds, "w", "a")
    assert found.median == pytest.approx(4.0)
    assert (found.least, found.most) == (pytest.approx(4.0), pytest.approx(4.0))


def test_a_value_that_a_contender_has_not_stays_unknown() -> None:
    rounds = [{"w": _run(10, age_s=0.2), "b": _run(10)}, {"w": _run(10, age_s=0.4), "b": _run(10)}]
    ages_s = spread_of(rounds, "w", lambda run: run.age_p50_s)
    assert ages_s is not None
    assert ages_s.median == pytest.approx(0.3)
    assert spread_of(rounds, "b", lambda run: run.age_p50_s) is None


def test_each_contender_is_at_each_place_equally_often() -> None:
    orders = [rotated(("a", "b", "w"), number) for number in range(6)]
    assert orders[:4] == [("a", "b", "w"), ("b", "w", "a"), ("w", "a", "b"), ("a", "b", "w")]
    for place in range(3):
        assert sorted(order[place] for order in orders) == ["a", "a", "b", "b", "w", "w"]


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile(values, 1.0) == 100
    assert percentile([7.0], 0.0) == 7
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_a_quantile_lies_linearly_within_its_bucket() -> None:
    buckets = [(0.1, 0.0), (0.2, 10.0), (0.5, 20.0), (math.inf, 20.0)]
    assert bucket_quantile(buckets, 0.25) == pytest.approx(0.15)
    assert bucket_quantile(buckets, 0.5) == pytest.approx(0.2)
    assert bucket_quantile(buckets, 1.0) == pytest.approx(0.5)


def test_a_quantile_beyond_the_last_bound_is_that_bound() -> None:
    assert bucket_quantile([(0.1, 1.0), (math.inf, 4.0)], 0.99) == pytest.approx(0.1)


def test_an_empty_histogram_has_no_quantile() -> None:
    assert bucket_quantile([], 0.5) is None
    assert bucket_quantile([(0.1, 0.0), (math.inf, 0.0)], 0.5) is None
