from __future__ import annotations

from types import SimpleNamespace

import pytest
from kafka.structs import TopicPartition

from pipeline.source.kafka.fetching import FetchPace, least_bytes

AT = TopicPartition("frames", 0)


@pytest.mark.parametrize(
    ("bytes_per_s", "least"),
    [(0, 1), (30 * 28_000, 16_800), (200 * 57_000, 228_000), (10**9, 1 << 20)],
)
def test_a_fetch_waits_for_what_comes_in_twenty_milliseconds(bytes_per_s: int, least: int) -> None:
    assert least_bytes(bytes_per_s) == least


def test_the_consumer_is_told_by_what_came_in_the_last_half_second() -> None:
    told = {"fetch_min_bytes": 1}
    cluster = SimpleNamespace(leader_for_partition=lambda at: at.partition // 2)
    consumer = SimpleNamespace(
        _fetcher=SimpleNamespace(config=told),
        _client=SimpleNamespace(cluster=cluster),
        assignment=lambda: {TopicPartition("frames", number) for number in range(4)},
    )
    pace = FetchPace()

    def poll(count: int, at: float) -> int:
        records = [SimpleNamespace(value=b"x" * 50_000)] * count
        pace.note(consumer, {AT: [*records, SimpleNamespace(value=None)]}, at)
        return told["fetch_min_bytes"]

    assert poll(1, 100.0) < 1000  # since long ago
    assert poll(10, 100.2) < 1000
    assert poll(90, 100.5) == 100_000  # from each of two brokers
    assert poll(0, 100.9) == 100_000
    assert poll(0, 101.0) == 1
