from __future__ import annotations

from pipeline.source.kafka.watch import ConsumerWatch, PartitionView

BEHIND = PartitionView(partition=2, position=5, end=9)
DONE = PartitionView(partition=0, position=9, end=9)
UNKNOWN = PartitionView(partition=1, position=-1, end=9)


def complaint(
    watch: ConsumerWatch,
    now: float,
    *views: PartitionView,
    is_stable: bool = True,
    is_paused: bool = False,
) -> str | None:
    return watch.complaint(now, is_stable=is_stable, is_paused=is_paused, partitions=views)


def test_a_join_that_hangs_is_seen() -> None:
    watch = ConsumerWatch()
    assert complaint(watch, 0.0, is_stable=False) is None
    assert complaint(watch, 14.0, is_stable=False) is None
    assert "joining" in (complaint(watch, 16.0, is_stable=False) or "")


def test_a_group_that_rebalances_often_is_no_hanging_join() -> None:
    watch = ConsumerWatch()
    for second in range(0, 120, 10):
        assert complaint(watch, float(second), is_stable=second % 20 == 0) is None


def test_records_that_are_not_delivered_are_seen() -> None:
    watch = ConsumerWatch()
    assert complaint(watch, 0.0, BEHIND, DONE) is None
    assert complaint(watch, 9.0, BEHIND, DONE) is None
    assert "partitions 2" in (complaint(watch, 11.0, BEHIND, DONE) or "")


def test_deliveries_pauses_and_ends_are_no_stall() -> None:
    watch = ConsumerWatch()
    for second in range(100):
        assert complaint(watch, float(second), DONE, UNKNOWN) is None
    for second in range(100, 200):
        assert complaint(watch, float(second), BEHIND, is_paused=True) is None
    for second in range(200, 300):
        watch.saw_records(float(second))
        assert complaint(watch, float(second), BEHIND) is None
