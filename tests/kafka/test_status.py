"""``headrace status``: what it says of a real group, and that it leaves no trace in it."""

from __future__ import annotations

import json
import signal
import socket
import time
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.structs import TopicPartition

from pipeline.kafka.address import KafkaAddress
from pipeline.kafka.cluster import Committed, open_cluster
from pipeline.kafka.connection import create_topic
from tests.artifacts import publish_tiny
from tests.cli.headrace import headrace
from tests.flow.process import Headrace
from tests.kafka.topics import PICTURES, Topics
from tests.support import wait_until

pytestmark = pytest.mark.kafka


def status(topics: Topics, more: str = "") -> dict:
    ran = headrace("status", f"{topics.source}{more}", "--json")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def commit(topics: Topics, places: dict[int, int]) -> None:
    """As workers do, only that there are none."""
    with open_cluster(KafkaAddress((topics.servers,), topics.name)) as cluster:
        at = {number: Committed(offset) for number, offset in places.items()}
        cluster.commit(topics.name, topics.name, at)


def by_partition(found: dict, field: str) -> list:
    return [each[field] for each in found["partitions"]]


def produce(topics: Topics, counts: dict[int, int], timestamp_ms: int | None = None) -> None:
    """So many records into each partition."""
    producer = KafkaProducer(bootstrap_servers=topics.servers)
    futures = [
        producer.send(topics.name, PICTURES[0], partition=number, timestamp_ms=timestamp_ms)
        for number, count in counts.items()
        for _ in range(count)
    ]
    for future in futures:
        future.get(30)
    producer.close(timeout=10)


def test_a_group_that_is_not_there_has_everything_before_it(topics: Topics) -> None:
    produce(topics, {0: 3, 2: 1})
    found = status(topics)
    assert (found["topic"], found["group"]) == (topics.name, topics.name)
    assert (found["state"], found["members"], found["dead_letters"]) == ("Dead", [], None)
    assert by_partition(found, "committed") == [None] * 4
    assert by_partition(found, "lag") == [3, 0, 1, 0]
    assert (found["lag"], found["lost"]) == (4, 0)
    assert status(topics, "&start=latest")["lag"] == 0
    # Asked twice, and still nobody knows the group.
    with open_cluster(KafkaAddress((topics.servers,), topics.name)) as cluster:
        assert cluster.group(topics.name).state == "Dead"
        assert cluster.committed(topics.name, topics.name, range(4)) == {}


def test_lag_and_age_are_those_of_what_is_not_committed(topics: Topics) -> None:
    now_ms = int(time.time() * 1000)
    produce(topics, {0: 2}, now_ms - 7_200_000)
    produce(topics, {0: 1, 1: 2}, now_ms - 60_000)
    produce(topics, {1: 5, 2: 5})
    commit(topics, {0: 2, 1: 2, 2: 5})
    found = status(topics)
    assert found["state"] == "Empty"
    assert by_partition(found, "committed") == [2, 2, 5, None]
    assert by_partition(found, "lag") == [1, 5, 0, 0]
    ages = by_partition(found, "age_s")
    assert 60 <= ages[0] < 120
    assert 0 <= ages[1] < 60
    assert ages[2:] == [None, None]
    assert found["max_age_s"] == ages[0]


def test_what_retention_took_before_the_group_came_is_lost(topics: Topics) -> None:
    produce(topics, {0: 10, 1: 10})
    commit(topics, {0: 4, 1: 10})
    admin = KafkaAdminClient(bootstrap_servers=topics.servers)
    admin.delete_records({TopicPartition(topics.name, number): 7 for number in (0, 1)})
    admin.close()
    found = status(topics)
    assert by_partition(found, "start")[:2] == [7, 7]
    assert by_partition(found, "lost")[:2] == [3, 0]
    assert by_partition(found, "lag")[:2] == [3, 0]
    assert (found["lag"], found["lost"]) == (3, 3)
    assert found["partitions"][0]["age_s"] is not None


def test_records_that_no_consumer_is_given_have_no_age(topics: Topics) -> None:
    """A transaction's marker takes an offset; a group that read all before it lags by one."""
    producer = KafkaProducer(bootstrap_servers=topics.servers, transactional_id=topics.name)
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(topics.name, PICTURES[0], partition=0)
    producer.commit_transaction()
    producer.close(timeout=10)
    commit(topics, {0: 1})
    before = time.monotonic()
    found = status(topics)
    assert (found["lag"], found["max_age_s"]) == (1, None)
    assert time.monotonic() - before < 8


def test_many_partitions_with_large_records_each_tell_their_age(kafka: str) -> None:
    topics = Topics(kafka, f"wide-{time.monotonic_ns()}")
    create_topic(KafkaAddress((kafka,), topics.name), partitions=120)
    producer = KafkaProducer(bootstrap_servers=kafka, max_request_size=8 << 20)
    large = PICTURES[0] + bytes(300_000)
    for future in [producer.send(topics.name, large, partition=number) for number in range(120)]:
        future.get(30)
    producer.close(timeout=10)
    found = status(topics)
    assert (len(found["partitions"]), found["lag"]) == (120, 120)
    assert None not in by_partition(found, "age_s")


def test_members_are_shown_with_their_partitions_until_they_leave(
    topics: Topics, tmp_path: Path
) -> None:
    registry = str(tmp_path / "registry")
    publish_tiny(registry)
    topics.send([*PICTURES, b"no picture", b""])
    arguments = ("worker", "--source", topics.source, "--sink", topics.sink)
    model = ("--model", "tiny", "--registry", registry, "--port", "0")
    with Headrace(*arguments, *model) as worker:
        wait_until(lambda: topics.committed() == len(PICTURES) + 2, 60)
        found = status(topics)
        (member,) = found["members"]
        assert (found["state"], member["client_id"]) == ("Stable", "headrace")
        assert member["partitions"] == [0, 1, 2, 3]
        assert member["id"].startswith("headrace-")
        assert member["host"]
        assert (found["lag"], found["max_age_s"]) == (0, None)
        assert found["dead_letters"] == {"topic": topics.dead_letters, "records": 2}
        table = headrace("status", topics.source)
        assert table.code == 0
        assert f"group {topics.name} on kafka://{topics.servers}/{topics.name}: Stable" in table.out
        assert "0-3" in table.out
        assert f"2 dead letters in {topics.dead_letters}" in table.out
        worker.signal(signal.SIGTERM)
        assert worker.end() == 0, worker.said()
    found = status(topics)
    assert (found["state"], found["members"]) == ("Empty", [])


def test_what_is_missing_is_said_with_its_exit_code(kafka: str) -> None:
    ran = headrace("status", f"kafka://{kafka}/nowhere")
    assert (ran.code, ran.out) == (2, "")
    assert "there is no topic 'nowhere'" in ran.err
    with open_cluster(KafkaAddress((kafka,), "nowhere")) as cluster:
        assert "nowhere" not in cluster.topics()


def test_a_broker_that_is_away_is_said_within_seconds() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        # In a process of its own: kafka-python leaves a socket open where it can't connect.
        with Headrace("status", f"kafka://127.0.0.1:{unused.getsockname()[1]}/frames") as run:
            assert run.end(30) == 1
    assert run.out == []
    assert "no broker answers" in run.said()
    assert "Traceback" not in run.said()
