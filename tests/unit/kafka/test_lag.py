from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from pipeline.kafka.address import KafkaAddress
from pipeline.kafka.lag import (
    Bounds,
    DeadLetters,
    Group,
    GroupStatus,
    Member,
    PartitionStatus,
    statuses,
    with_ages,
)

ADDRESS = KafkaAddress(("h:9092",), "frames")


def one(start: int, committed: int | None, end: int, begins: str = "earliest") -> PartitionStatus:
    known = {} if committed is None else {0: committed}
    (status,) = statuses({0: Bounds(start, end)}, known, begins)  # pyright: ignore
    return status


def test_the_lag_is_from_the_commit_to_the_end() -> None:
    status = one(0, 30, 100)
    assert (status.next_offset, status.lag, status.lost) == (30, 70, 0)


def test_without_a_commit_the_group_begins_where_its_url_says() -> None:
    assert (one(5, None, 100).lag, one(5, None, 100, "latest").lag) == (95, 0)


def test_what_retention_deleted_before_the_group_came_is_lost_not_lag() -> None:
    status = one(40, 30, 100)
    assert (status.next_offset, status.lag, status.lost) == (40, 60, 10)


def test_a_topic_that_was_made_anew_is_read_from_its_start() -> None:
    status = one(0, 500, 20)
    assert (status.next_offset, status.lag, status.lost) == (0, 20, 0)


def test_an_emptied_partition_has_no_lag() -> None:
    assert (one(100, 100, 100).lag, one(100, 70, 100).lag, one(0, None, 0).lag) == (0, 0, 0)


@given(
    st.integers(0, 1000),
    st.integers(0, 1000),
    st.one_of(st.none(), st.integers(0, 3000)),
    st.sampled_from(["earliest", "latest"]),
)
def test_a_lag_is_never_negative_nor_more_than_the_log_holds(
    start: int, length: int, committed: int | None, begins: str
) -> None:
    status = one(start, committed, start + length, begins)
    assert 0 <= status.lag <= length
    assert start <= status.next_offset <= start + length
    assert 0 <= status.lost <= start


def test_ages_are_since_the_next_record_was_written_and_never_negative() -> None:
    partitions = statuses({n: Bounds(0, 10) for n in range(3)}, {}, "earliest")
    aged = with_ages(partitions, {0: 990.5, 2: 1001.0}, 1000.0)
    assert [each.age_s for each in aged] == [9.5, None, 0.0]


def test_the_report_sums_up_and_is_json() -> None:
    partitions = statuses(
        {0: Bounds(0, 10), 1: Bounds(5, 5), 2: Bounds(8, 20)}, {0: 4, 2: 6}, "earliest"
    )
    status = GroupStatus(
        ADDRESS,
        Group("mine", "Stable", (Member("m-1", "headrace", "10.0.0.7", (0, 1, 2)),)),
        with_ages(partitions, {0: 100.0, 2: 160.0}, 200.0),
        DeadLetters("frames.dlq", 3),
    )
    assert json.loads(json.dumps(status.to_json())) == {
        "topic": "frames",
        "group": "mine",
        "state": "Stable",
        "members": [
            {
                "id": "m-1",
                "client_id": "headrace",
                "host": "10.0.0.7",
                "partitions": [0, 1, 2],
            }
        ],
        "partitions": [
            {
                "partition": number,
                "start": start,
                "committed": committed,
                "end": end,
                "lag": lag,
                "lost": lost,
                "age_s": age_s,
            }
            for number, start, committed, end, lag, lost, age_s in (
                (0, 0, 4, 10, 6, 0, 100.0),
                (1, 5, None, 5, 0, 0, None),
                (2, 8, 6, 20, 12, 2, 40.0),
            )
        ],
        "lag": 18,
        "lost": 2,
        "max_age_s": 100.0,
        "dead_letters": {"topic": "frames.dlq", "records": 3},
    }


def test_a_group_that_waits_for_nothing_has_no_age() -> None:
    partitions = statuses({0: Bounds(0, 10)}, {0: 10}, "earliest")
    status = GroupStatus(ADDRESS, Group("mine", "Dead", ()), partitions, None)
    assert (status.lag, status.max_age_s, status.to_json()["dead_letters"]) == (0, None, None)
