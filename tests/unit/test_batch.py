from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.batch import (
    BatchPolicy,
    BucketPlan,
    OpenBatch,
    bucket_for,
    buckets,
    live_capacity,
)

POLICY = BatchPolicy(max_wait_s=0.02)


def reason(
    *,
    decoded: int = 1,
    decoding: int = 0,
    age_s: float = 0.0,
    waiting: int = 0,
    deadline: float | None = None,
    draining: bool = False,
) -> str | None:
    batch = OpenBatch(
        decoded=decoded,
        decoding=decoding,
        capacity=8,
        oldest_mono_s=100.0,
        deadline_mono_s=deadline,
    )
    return POLICY.close_reason(
        batch,
        now_mono_s=100.0 + age_s,
        waiting=waiting,
        draining=draining,
    )


def test_an_idle_engine_does_not_wait_when_nothing_is_left_to_decode() -> None:
    assert reason() == "idle"
    assert reason(waiting=1) is None
    assert reason(decoding=1) is None


def test_a_full_batch_closes_even_while_rows_are_decoded() -> None:
    assert reason(decoded=6, decoding=2, waiting=9) == "full"


def test_an_old_batch_closes_while_frames_wait() -> None:
    assert reason(waiting=5, age_s=0.019) is None
    assert reason(waiting=5, age_s=0.021) == "age"


def test_a_batch_that_a_backlog_will_fill_waits_longer() -> None:
    assert reason(waiting=7, age_s=0.079) is None
    assert reason(waiting=7, age_s=0.081) == "age"
    assert reason(decoded=3, decoding=2, waiting=3, age_s=0.079) is None
    assert reason(decoded=3, decoding=2, waiting=2, age_s=0.021) == "age"


def test_no_batch_waits_longer_than_a_goal_leaves() -> None:
    policy = BatchPolicy(max_wait_s=0.02, most_wait_s=0.03)
    batch = OpenBatch(decoded=1, decoding=0, capacity=8, oldest_mono_s=100.0)
    assert policy.wake_at_mono_s(batch, waiting=7) == pytest.approx(100.03)
    assert policy.wake_at_mono_s(batch, waiting=1) == pytest.approx(100.02)


def test_a_live_batch_never_waits_longer_than_its_age() -> None:
    assert reason(waiting=7, age_s=0.021, deadline=100.5) == "age"


@pytest.mark.parametrize(("waiting", "wake_at"), [(6, 100.02), (7, 100.08)])
def test_the_engine_wakes_when_the_batch_is_too_old(waiting: int, wake_at: float) -> None:
    batch = OpenBatch(decoded=1, decoding=0, capacity=8, oldest_mono_s=100.0)
    assert POLICY.wake_at_mono_s(batch, waiting) == pytest.approx(wake_at)
    closing = POLICY.close_reason(batch, now_mono_s=wake_at, waiting=waiting, draining=False)
    assert closing == "age"


def test_a_deadline_closes_a_batch_before_its_age() -> None:
    assert reason(waiting=5, age_s=0.01, deadline=100.005) == "deadline"
    assert reason(waiting=5, age_s=0.001, deadline=100.005) is None


def test_an_empty_batch_never_closes() -> None:
    assert reason(decoded=0, age_s=9.0, draining=True) is None


def test_a_drain_closes_what_is_there() -> None:
    assert reason(draining=True) == "drain"


def test_buckets_are_powers_of_two_and_the_size_itself() -> None:
    assert buckets(1) == (1,)
    assert buckets(8) == (1, 2, 4, 8)
    assert buckets(24) == (1, 2, 4, 8, 16, 24)
    assert bucket_for(9, buckets(24)) == 16


@given(st.integers(1, 1024), st.data())
def test_every_size_has_a_bucket_of_less_than_twice_its_size(
    most: int, data: st.DataObject
) -> None:
    sizes = buckets(most)
    size = data.draw(st.integers(1, most))
    assert size <= bucket_for(size, sizes) < 2 * size or size == 1
    assert sizes[-1] == most
    assert sorted(set(sizes)) == list(sizes)


@pytest.mark.parametrize(
    ("infer_s", "is_wanted"),
    [({32: 0.01}, True), ({16: 0.002, 32: 0.0101}, False), ({1: 0.0003, 2: 0.001}, False)],
)
def test_batches_are_larger_where_the_network_computes_them_within_the_wait(
    infer_s: dict[int, float], is_wanted: bool
) -> None:
    plan = BucketPlan.of(0, max_wait_s=0.02)
    assert plan.sizes == (1, 2, 4, 8, 16, 32, 64)
    assert all(plan.is_wanted(size, {}) for size in plan.sizes[:-1])
    assert plan.is_wanted(64, infer_s) == is_wanted


def test_a_size_that_was_asked_for_holds_however_long_it_takes() -> None:
    plan = BucketPlan.of(100, max_wait_s=0.0)
    assert plan.sizes[-1] == 100
    assert all(plan.is_wanted(size, {1: 9.0}) for size in plan.sizes)


@pytest.mark.parametrize(("max_age_s", "expected"), [(1.0, 8), (0.1, 2), (0.001, 1)])
def test_live_batches_are_no_larger_than_the_deadline_allows(
    max_age_s: float, expected: int
) -> None:
    assert live_capacity({1: 0.01, 2: 0.02, 4: 0.05, 8: 0.1}, max_age_s) == expected
