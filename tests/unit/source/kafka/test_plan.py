from __future__ import annotations

import pytest

from pipeline.source.kafka.plan import CommitPlan
from pipeline.source.kafka.watch import PartitionView

ZERO = ("frames", 0)
ONE = ("frames", 1)


def test_only_what_is_ours_and_new_is_committed() -> None:
    plan = CommitPlan("frames")
    done = {ZERO: 5, ONE: 7, ("others", 0): 9}
    assert plan.news({ZERO: 1}, done) == {ZERO: (1, 5)}
    plan.note_done({ZERO: (1, 5)})
    assert plan.news({ZERO: 1}, done) == {}
    assert plan.news({ZERO: 1, ONE: 1}, {**done, ZERO: 6}) == {ZERO: (1, 6), ONE: (1, 7)}


def test_a_later_assignment_may_go_back() -> None:
    """What wasn't committed when it was taken away comes again."""
    plan = CommitPlan("frames")
    plan.note_done({ZERO: (1, 50)})
    assert plan.news({ZERO: 1}, {ZERO: 40}) == {}
    assert plan.news({ZERO: 2}, {ZERO: 40}) == {ZERO: (2, 40)}


def test_the_late_answer_to_an_old_commit_changes_nothing() -> None:
    plan = CommitPlan("frames")
    plan.note_done({ZERO: (2, 20)})
    plan.note_done({ZERO: (1, 30)})
    plan.note_done({ZERO: (2, 10)})
    assert plan.news({ZERO: 2}, {ZERO: 20}) == {}


def test_what_was_durable_when_a_partition_went_is_where_it_goes_on() -> None:
    plan = CommitPlan("frames")
    plan.note_done({ZERO: (1, 10), ONE: (1, 7)})
    plan.leave({ZERO: 1, ONE: 1}, {ZERO: 15, ONE: 7})
    assert (plan.has_left(ZERO), plan.has_left(ONE)) == (True, False)
    assert plan.go_on(ZERO, committed=10) == 15
    assert not plan.has_left(ZERO)


@pytest.mark.parametrize(
    ("committed", "expected"),
    [
        (None, None),  # the group has forgotten it
        (9, None),  # somebody has set it back
        (10, 15),
        (12, 15),  # a commit that wasn't answered has arrived
        (15, None),
        (20, None),  # another worker was further
    ],
)
def test_where_the_group_was_moved_it_says_where_to_go_on(
    committed: int | None, expected: int | None
) -> None:
    plan = CommitPlan("frames")
    plan.note_done({ZERO: (1, 10)})
    plan.leave({ZERO: 1}, {ZERO: 15})
    assert plan.go_on(ZERO, committed) == expected


def test_where_it_went_on_is_known_until_it_is_committed() -> None:
    """Another consumer may go before it has committed anything."""
    plan = CommitPlan("frames")
    plan.note_done({ZERO: (1, 10)})
    plan.leave({ZERO: 1}, {ZERO: 500})
    assert plan.go_on(ZERO, committed=10) == 500
    plan.leave({ZERO: 2}, {})
    assert plan.go_on(ZERO, committed=10) == 500
    plan.leave({ZERO: 3}, {ZERO: 520})
    assert plan.go_on(ZERO, committed=10) == 520
    plan.note_done({ZERO: (4, 520)})
    plan.leave({ZERO: 4}, {ZERO: 520})
    assert not plan.has_left(ZERO)


def test_where_it_went_on_counts_no_more_once_somebody_else_was_there() -> None:
    plan = CommitPlan("frames")
    plan.note_done({ZERO: (1, 10)})
    plan.leave({ZERO: 1}, {ZERO: 500})
    assert plan.go_on(ZERO, committed=10) == 500
    plan.leave({ZERO: 2}, {})
    assert plan.go_on(ZERO, committed=600) is None
    plan.leave({ZERO: 3}, {})
    assert not plan.has_left(ZERO)


def test_what_was_deleted_counts_as_lost_only_behind_what_is_done() -> None:
    plan = CommitPlan("frames")
    plan.note_done({ZERO: (1, 10), ONE: (1, 10)})
    plan.leave({ZERO: 1, ONE: 1}, {ZERO: 30, ONE: 30})
    assert plan.done_before_gap(ZERO, 10, log_start=15) == 30
    assert plan.done_before_gap(ONE, 10, log_start=100) == 30
    assert (plan.has_left(ZERO), plan.has_left(ONE)) == (True, False)
    assert plan.done_before_gap(ONE, 100, log_start=110) == 100


def test_of_an_assignment_without_a_commit_only_the_group_knows_where_it_began() -> None:
    plan = CommitPlan("frames")
    plan.note_done({ZERO: (1, 10)})
    plan.leave({ZERO: 2}, {ZERO: 15})
    assert not plan.has_left(ZERO)


def test_an_idle_partition_is_done_up_to_where_it_is_read() -> None:
    plan = CommitPlan("frames")
    views = [PartitionView(0, 12, 12), PartitionView(1, 8, 9), PartitionView(2, -1, 3)]
    plan.note_idle(views, busy={ONE})
    ours = {ZERO: 1, ONE: 1, ("frames", 2): 1}
    assert plan.news(ours, {ZERO: 11, ONE: 6}) == {ZERO: (1, 12), ONE: (1, 6)}
    assert [plan.next_offset(view, {ZERO: 11, ONE: 6}) for view in views] == [12, 6, -1]
    plan.forget_idle()
    assert plan.news(ours, {ZERO: 11}) == {ZERO: (1, 11)}
