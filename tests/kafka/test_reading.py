"""Ranges are read to their ends, whatever the log holds there."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.structs import TopicPartition

from pipeline.kafka.address import KafkaAddress
from pipeline.kafka.lag import Bounds
from pipeline.kafka.reading import read_ranges, written_at
from tests.kafka.topics import PICTURES, Topics

pytestmark = pytest.mark.kafka


def offsets(topics: Topics, ranges: dict[int, Bounds], most: int | None = None) -> list:
    """The places of what is read; after ``most`` batches it is stopped."""
    stop = threading.Event()
    found = []
    with closing(read_ranges(address(topics), ranges, stop)) as reading:
        for number, records in enumerate(reading):
            found += [(record.partition, record.offset) for record in records]
            if number + 1 == most:
                stop.set()
    return found


def address(topics: Topics) -> KafkaAddress:
    return KafkaAddress((topics.servers,), topics.name)


def fill(topics: Topics, counts: dict[int, int]) -> None:
    producer = KafkaProducer(bootstrap_servers=topics.servers)
    futures = [
        producer.send(topics.name, PICTURES[0], partition=number)
        for number, count in counts.items()
        for _ in range(count)
    ]
    for future in futures:
        future.get(30)
    producer.close(timeout=10)


def delete_before(topics: Topics, offset: int) -> None:
    admin = KafkaAdminClient(bootstrap_servers=topics.servers)
    admin.delete_records({TopicPartition(topics.name, 0): offset})
    admin.close()


def test_a_range_is_read_in_order_and_not_beyond_its_end(topics: Topics) -> None:
    fill(topics, {0: 300, 1: 10, 2: 5})
    ranges = {0: Bounds(20, 250), 1: Bounds(0, 1), 2: Bounds(5, 5), 3: Bounds(0, 0)}
    found = offsets(topics, ranges)
    assert [at for at in found if at[0] == 0] == [(0, offset) for offset in range(20, 250)]
    assert [at for at in found if at[0] != 0] == [(1, 0)]


def test_nothing_is_read_of_nothing(topics: Topics) -> None:
    assert offsets(topics, {}) == []
    assert written_at(address(topics), {}) == {}


def test_who_stops_gets_no_more(topics: Topics) -> None:
    fill(topics, {0: 300})
    assert 0 < len(offsets(topics, {0: Bounds(0, 300)}, most=1)) < 300


def test_a_range_may_end_with_what_is_no_record(topics: Topics) -> None:
    producer = KafkaProducer(bootstrap_servers=topics.servers, transactional_id=topics.name)
    producer.init_transactions()
    for _ in range(2):
        producer.begin_transaction()
        producer.send(topics.name, PICTURES[0], partition=0)
        producer.commit_transaction()
    producer.close(timeout=10)
    assert offsets(topics, {0: Bounds(0, 4)}) == [(0, 0), (0, 2)]
    assert offsets(topics, {0: Bounds(3, 4)}) == []


def test_what_retention_takes_meanwhile_is_passed_over(topics: Topics) -> None:
    fill(topics, {0: 30, 1: 3})
    delete_before(topics, 20)
    found = offsets(topics, {0: Bounds(5, 30), 1: Bounds(0, 3)})
    assert [at for at in found if at[0] == 0] == [(0, offset) for offset in range(20, 30)]
    assert len(found) == 13
    assert set(written_at(address(topics), {0: Bounds(5, 30), 1: Bounds(0, 3)})) == {0, 1}
    # All of the range, even.
    assert offsets(topics, {0: Bounds(5, 10)}) == []
    assert written_at(address(topics), {0: Bounds(5, 10)}) == {}
