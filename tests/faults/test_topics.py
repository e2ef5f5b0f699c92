"""Row 25 of the matrix: records that are deleted too early, partitions and topics made anew."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from kafka import KafkaAdminClient, TopicPartition

from pipeline.kafka.address import KafkaAddress
from pipeline.kafka.connection import create_topic, has_topic
from tests.faults.arena import WINDOW, Arena, metric
from tests.support import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

PARTITIONS = 4


@contextmanager
def admin_of(arena: Arena) -> Iterator[KafkaAdminClient]:
    admin = KafkaAdminClient(bootstrap_servers=arena.topics.servers)
    try:
        yield admin
    finally:
        admin.close()


def retention_takes_all(arena: Arena) -> None:
    """Deletes what is in the topic of frames now."""
    everything = {TopicPartition(arena.topics.name, number): -1 for number in range(PARTITIONS)}
    with admin_of(arena) as admin:
        admin.delete_records(everything)


def scored_of_deleted(arena: Arena) -> int:
    """Deleted frames that a worker had before."""
    deleted = {each.frame_id for each in arena.feeder.log if each.status == "unknown"}
    return len(deleted & arena.scored_ids())


def test_25_what_was_deleted_while_nobody_read_is_counted_and_told(arena: Arena) -> None:
    arena.feeder.feed(400)
    arena.start()
    arena.until_all_done()
    arena.stop_all()
    lost = arena.feeder.feed_deleted(300)
    retention_takes_all(arena)
    arena.feeder.feed(200)
    worker = arena.start()
    url = worker.until_ready()
    arena.until_all_done()
    assert metric(url, "headrace_consumer_lost_records_total") == lost == 300
    assert "deleted before this group came to them" in worker.said()
    arena.stop_all()
    assert arena.verdict("25-retention").broken == []
    assert arena.topics.committed() == len(arena.feeder.log)


@pytest.mark.faults
def test_25_what_is_deleted_under_a_frozen_worker_is_counted_and_told(arena: Arena) -> None:
    """It is a member all the time: its session is longer than that."""
    arena.feeder.feed(400)
    worker = arena.start(session_s=30)
    url = worker.until_ready()
    arena.until_all_done()
    wait_until(lambda: arena.topics.committed() == 400)
    worker.signal(signal.SIGSTOP)
    lost = arena.feeder.feed_deleted(300)
    retention_takes_all(arena)
    arena.feeder.feed(200)
    worker.signal(signal.SIGCONT)
    arena.until_all_done()
    counted = metric(url, "headrace_consumer_lost_records_total")
    # A fetch that was under way may have brought some of them before they were deleted.
    assert 0 < counted <= lost
    assert counted == lost - scored_of_deleted(arena)
    arena.stop_all()
    assert arena.verdict("25-retention-frozen").broken == []


@pytest.mark.faults
@pytest.mark.parametrize("start", ["earliest", "latest"])
def test_25_partitions_that_are_added_are_read_from_their_first_record(
    arena: Arena, start: str
) -> None:
    source = f"{arena.topics.source}&start={start}"
    worker = arena.start(source=source)
    worker.until_ready()
    wait_until(lambda: "got partitions" in worker.said(), 30)
    arena.feeder.feed(200)
    arena.until_all_done()
    with admin_of(arena) as admin:
        admin.create_partitions({arena.topics.name: 2 * PARTITIONS})
    arena.feeder.feed(400)  # before anybody knows of the new ones
    assert {int(each.frame_id.split("/")[1]) for each in arena.feeder.log} > set(range(PARTITIONS))
    arena.until_all_done()
    arena.stop_all()
    verdict = arena.verdict(f"25-partitions-added-{start}", most_duplicates=WINDOW)
    assert verdict.broken == []
    assert arena.topics.committed() == len(arena.feeder.log)


@pytest.mark.faults
@pytest.mark.parametrize("records", [0, 2000])
def test_25_a_topic_that_is_made_anew_under_a_worker_is_refused(arena: Arena, records: int) -> None:
    """Empty, or with so many records that the worker's offsets exist there, too: those beyond are
    read until the client asks for the topic's id again."""
    worker = arena.start()
    worker.until_ready()
    arena.feeder.feed(400)
    arena.until_all_done()
    wait_until(lambda: arena.topics.committed() == 400)
    assert arena.verdict("25-recreated-before").broken == []
    address = KafkaAddress((arena.topics.servers,), arena.topics.name)
    with admin_of(arena) as admin:
        worker.signal(signal.SIGSTOP)
        admin.delete_topics([arena.topics.name])
        wait_until(lambda: not has_topic(address))
        create_topic(address, PARTITIONS)
        arena.feeder.forget()
        if records:
            arena.feeder.feed(records)
        worker.signal(signal.SIGCONT)
    summary = arena.ended(worker, code=1)
    assert "made anew" in summary["error"]  # by its id, or by a log that ends too early
    assert "Traceback" not in worker.said()
    assert arena.topics.committed() == 0  # nothing of the new one counts as done
    again = arena.start()  # somebody has decided that it may be read
    again.until_ready()
    arena.feeder.feed(100)
    wait_until(lambda: arena.topics.committed() == 100 + records, 60)
    arena.stop_all()
    assert arena.scored_ids() >= {each.frame_id for each in arena.feeder.log}
    assert arena.scored() >= 500 + records
