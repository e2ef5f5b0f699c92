"""Who runs, on how much, and what is compared."""

from __future__ import annotations

import pytest

from pipeline.bench.kafka.peers import PEERS
from pipeline.bench.kafka.plan import (
    COMPARISONS,
    Comparison,
    contenders,
    frames_of,
    paced,
    paced_frames,
    runs_in_all,
)
from pipeline.bench.rounds import Run, Spread

ALL = tuple(PEERS)


def _run(frames_per_s: float, p99_s: float | None = None) -> Run:
    return Run(frames=100, duration_s=100 / frames_per_s, cpu_s=0.1, age_p99_s=p99_s)


def test_every_comparison_is_between_things_that_run() -> None:
    measured = {*contenders(ALL), *(each.name for each in paced(ALL))}
    for each in COMPARISONS:
        assert {each.over, each.under} <= measured


def test_no_peer_runs_that_is_not_asked_for() -> None:
    names = [*contenders(()), *(each.name for each in paced(()))]
    assert not [name for name in names for peer in ALL if peer in name]
    assert len(contenders(ALL)) == len(contenders(())) + len(ALL)


def test_servers_are_asked_at_full_speed_alone() -> None:
    assert [each.system for each in paced(ALL) if each.system in ALL] == ["quix", "arroyo"]


def test_names_of_measurements_are_unique() -> None:
    names = [*contenders(ALL), *(each.name for each in paced(ALL))]
    assert len(set(names)) == len(names)


def test_slower_systems_get_fewer_frames_but_never_none() -> None:
    assert [frames_of(name, 3000) for name in ("headrace", "quix", "competent", "naive")] == [
        3000,
        1500,
        1000,
        500,
    ]
    assert frames_of("naive", 30) == 20
    assert paced_frames(100.4, 8.0) == 803
    assert paced_frames(3.0, 1.0) == 20


def test_all_runs_are_counted_for_the_bar() -> None:
    # A warm-up round and two more of seven systems, and two rounds of five paced streams.
    assert runs_in_all(("quix",), rounds=2) == 3 * 7 + 2 * 5


def test_a_ratio_is_taken_within_each_round() -> None:
    rounds = [{"a": _run(500), "b": _run(100)}, {"a": _run(100), "b": _run(50)}]
    compared = Comparison("a_over_b", "a", "b", goal=3.0)
    value = compared.of(rounds)
    assert value == Spread(median=3.5, least=2.0, most=5.0)
    assert compared.is_reached(value) is True


def test_a_latency_goal_is_an_upper_limit() -> None:
    rounds = [{"a": _run(10, p99_s=0.03), "b": _run(10, p99_s=0.05)}]
    compared = Comparison("p99", "a", "b", goal=0.5, is_latency=True)
    value = compared.of(rounds)
    assert value is not None
    assert value.median == pytest.approx(0.6)
    assert compared.is_reached(value) is False


def test_nothing_is_said_of_a_system_that_did_not_run_and_nothing_reached_without_a_goal() -> None:
    assert Comparison("a_over_c", "a", "c").of([{"a": _run(1)}]) is None
    assert Comparison("a_over_c", "a", "c").of([]) is None
    assert Comparison("a_over_b", "a", "b").is_reached(Spread(1.0, 1.0, 1.0)) is None
    with pytest.raises(ValueError, match="without latencies"):
        Comparison("p99", "a", "b", is_latency=True).of([{"a": _run(1), "b": _run(1)}])
