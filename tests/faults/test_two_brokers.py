"""Row 13 as it stands: records expire while the coordinators of group and transactions answer.

With one broker both are away together. Here there are two: the first has the coordinators, the
frames and the lead of the results, the second a copy of the results without which nothing may be
written. Frozen, it lets records expire, and every other request is answered.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError, KafkaTimeoutError
from kafka.structs import OffsetAndMetadata, TopicPartition

from tests.faults.arena import Arena, is_true_within
from tests.faults.scenarios import expire
from tests.faults.test_strict import (
    LONGER_THAN_A_RECORD_S,
    LONGER_THAN_A_TRANSACTION_S,
    require_one_row_each,
)
from tests.kafka.broker import LocalBroker
from tests.kafka.tail import Tail
from tests.support import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.faults]


@pytest.fixture
def first() -> Iterator[LocalBroker]:
    """The broker that has everything, its coordinators' topics included."""
    with LocalBroker() as broker:
        with contextlib.closing(
            KafkaProducer(bootstrap_servers=broker.address, transactional_id="any")
        ) as producer:
            producer.init_transactions()
        with contextlib.closing(
            KafkaConsumer(bootstrap_servers=broker.address, group_id="any")
        ) as consumer:
            consumer.committed(TopicPartition("any", 0))
        yield broker


@contextlib.contextmanager
def copied(first: LocalBroker, topic: str) -> Iterator[LocalBroker]:
    """A second broker, with a copy of a topic without which nothing is written to it."""
    with (
        LocalBroker.beside(first) as second,
        contextlib.closing(KafkaAdminClient(bootstrap_servers=first.address)) as admin,
    ):
        (described,) = admin.describe_topics([topic])
        at = [TopicPartition(topic, each["partition_index"]) for each in described["partitions"]]
        refused = admin.alter_partition_reassignments({each: [1, 2] for each in at})
        assert not any(refused.values())
        both = {"min.insync.replicas": "2"}
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=both)])
        until_in_sync(first, topic, 2)
        yield second


def until_in_sync(first: LocalBroker, topic: str, brokers: int) -> None:
    """Waits until so many brokers have all of a topic, or are believed to."""

    def is_so() -> bool:
        with contextlib.suppress(KafkaError):  # it may ask the one that is frozen
            (described,) = admin.describe_topics([topic])
            return all(len(each["isr_nodes"]) == brokers for each in described["partitions"])
        return False

    with contextlib.closing(
        KafkaAdminClient(bootstrap_servers=first.address, request_timeout_ms=2000)
    ) as admin:
        wait_until(is_so, 60)


@pytest.mark.parametrize("seconds", [LONGER_THAN_A_RECORD_S, LONGER_THAN_A_TRANSACTION_S])
def test_13_a_batch_that_expires_while_the_coordinator_answers_is_written_again(
    first: LocalBroker, tmp_path: Path, seconds: int
) -> None:
    with (
        Arena(first.address, tmp_path) as arena,
        copied(first, arena.topics.results) as second,
    ):
        worker = expire(arena, second, seconds)
        arena.until_all_done()
        assert "writing them again" in worker.said()
        require_one_row_each(arena, f"strict-13-expired-{seconds}")


def test_a_worker_that_believes_the_commit_is_caught(first: LocalBroker, tmp_path: Path) -> None:
    with (
        Arena(first.address, tmp_path, plants=("mutants.believe_the_commit",)) as arena,
        copied(first, arena.topics.results) as second,
    ):
        expire(arena, second, LONGER_THAN_A_RECORD_S)
        assert not is_true_within(arena.is_all_done, 40)
        assert "forgotten" in arena.verdict("mutant-believe_the_commit").broken


def test_why_a_commit_that_returns_is_not_believed(first: LocalBroker, tmp_path: Path) -> None:
    """kafka-python commits a transaction of which a record has expired: the group has gone on, the
    record isn't there. Fails when the library is mended; then the guard may go."""
    with (
        Arena(first.address, tmp_path) as arena,
        copied(first, arena.topics.results) as second,
        contextlib.closing(
            KafkaProducer(
                bootstrap_servers=first.address,
                transactional_id=uuid.uuid4().hex,
                delivery_timeout_ms=4000,
                request_timeout_ms=2000,
            )
        ) as producer,
        contextlib.closing(
            KafkaConsumer(bootstrap_servers=first.address, group_id=arena.topics.name)
        ) as consumer,
    ):
        producer.init_transactions()
        producer.begin_transaction()
        with second.frozen():
            until_in_sync(first, arena.topics.results, 1)  # then nothing is even written
            lost = producer.send(arena.topics.results, b"a row", partition=0)
            with pytest.raises(KafkaTimeoutError):
                lost.get(30)
            producer.send_offsets_to_transaction(
                {TopicPartition(arena.topics.name, 0): OffsetAndMetadata(7, "", -1)},
                consumer.group_metadata(),
            )
        with contextlib.suppress(KafkaError):
            producer.commit_transaction()
        wait_until(lambda: arena.topics.committed() == 7, 30)
        tail = Tail(first.address, arena.topics.results)
        assert not tail.refresh()
        tail.close()
