"""What results on a topic and samples of a process say."""

from __future__ import annotations

import pytest

from pipeline.bench.kafka.observed import (
    Result,
    Sample,
    at_full_speed,
    at_pace,
    cpu_s_per_result,
    first_results,
)
from pipeline.errors import StageFailed


def _results(appended_ms: list[int]) -> list[Result]:
    return [Result(f"t/0/{number}", ms) for number, ms in enumerate(appended_ms)]


def test_a_frame_counts_by_its_first_result() -> None:
    rows = [Result("b", 30), Result("a", 20), Result("a", 10)]
    assert first_results(rows, ["a", "b"]) == [Result("a", 10), Result("b", 30)]


def test_a_missing_or_foreign_result_voids_the_run() -> None:
    with pytest.raises(StageFailed, match="1 have no result"):
        first_results([Result("a", 1)], ["a", "b"])
    with pytest.raises(StageFailed, match="1 results are of no frame"):
        first_results([Result("a", 1), Result("x", 2)], ["a"])


def test_full_speed_is_that_after_the_warm_up_and_before_it_runs_dry() -> None:
    # A slow first result, then one every 10 ms, and two that waited for company.
    results = _results([0, *range(5000, 5170, 10), 9000, 9000])
    samples = [Sample(0, 3.0), Sample(2, 3.5), Sample(10, 3.54), Sample(18, 3.58), Sample(20, 9.0)]
    run = at_full_speed(results, samples)
    assert run.frames == 16
    assert run.frames_per_s == pytest.approx(100)
    assert run.cpu_ms_per_frame == pytest.approx(5)
    assert run.age_p99_s is None


def test_results_within_one_millisecond_have_a_speed_too() -> None:
    run = at_full_speed(_results([7] * 20), [Sample(0, 1.0), Sample(20, 1.2)])
    assert run.frames_per_s == 16_000


def test_a_paced_run_has_latencies_of_what_was_sent_after_the_warm_up() -> None:
    # Two that warm it up, then 20 a tenth of a second apart: the first two of them slow.
    sent_ms = {f"t/0/{number}": 1000 + 100 * number for number in range(2, 22)}
    late_ms = [0, 0, 900, 900, *[20] * 17, 70]
    results = [Result(f"t/0/{n}", 1000 + 100 * n + late) for n, late in enumerate(late_ms)]
    samples = [Sample(2, 1.0), Sample(4, 1.1), Sample(12, 1.18), Sample(21, 1.27), Sample(22, 2.0)]
    run = at_pace(sorted(results, key=lambda each: each.appended_ms), sent_ms, samples)
    assert run.frames == 18
    assert run.age_p50_s == pytest.approx(0.02)
    assert run.age_p99_s == pytest.approx(0.07)
    # From when the first that counts was sent to the last result.
    assert run.duration_s == pytest.approx(1.77)
    assert run.cpu_ms_per_frame == pytest.approx(10)


def test_few_samples_give_the_cpu_time_of_the_whole_run() -> None:
    assert cpu_s_per_result([Sample(0, 1.0), Sample(20, 1.4)], 2, 20) == pytest.approx(0.02)
    # Nothing moved between the only two inside.
    inside = [Sample(0, 1.0), Sample(5, 1.1), Sample(5, 1.2), Sample(20, 1.4)]
    assert cpu_s_per_result(inside, 2, 20) == pytest.approx(0.02)
