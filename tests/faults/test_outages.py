"""Rows 5 and 7 of the matrix: a broker that is gone for minutes, a member that is thrown out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from kafka import KafkaAdminClient
from kafka.admin import MemberToRemove

from tests.faults.arena import WINDOW, Arena, metric
from tests.faults.devices import SLOW
from tests.faults.feeder import Message
from tests.kafka.broker import LocalBroker

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.slow,
    pytest.mark.faults,
    pytest.mark.timeout(500),
]

OUTAGE_S = 180
BACK_WITHIN_S = 60.0
SLACK_BYTES = 64 << 20
"""What a process may grow by besides the frames in flight: buffers, and Python's own."""


@pytest.fixture
def other() -> Iterator[LocalBroker]:
    """A broker of this test's own."""
    with LocalBroker() as broker:
        yield broker


def sit_out(broker: LocalBroker, worker_pid: int, url: str) -> None:
    """Kills the broker and starts it again after three minutes; the worker's memory stays."""
    process = psutil.Process(worker_pid)
    used = process.memory_info().rss
    broker.kill()
    pause = threading.Event()
    for _ in range(OUTAGE_S // 5):
        pause.wait(5)
        assert process.memory_info().rss < used + SLACK_BYTES
        assert metric(url, "headrace_frames_in_flight") <= WINDOW
    broker.start_again()


def test_5_the_only_broker_is_gone_for_three_minutes(other: LocalBroker, tmp_path: Path) -> None:
    with Arena(other.address, tmp_path, plants=(SLOW,)) as arena:
        arena.feeder.feed(3000)
        arena.feeder.send([Message(b"no picture", b"cam-1", must_be="rejected")])
        arena.feeder.feed(3000)
        worker = arena.start()
        url = worker.until_ready()
        arena.until_scored(500)
        sit_out(other, worker.pid, url)
        arena.fault_ended("the broker was gone for three minutes", BACK_WITHIN_S)
        arena.until_all_done()
        arena.stop_all()
        verdict = arena.verdict("5-outage", most_duplicates=WINDOW)
        assert verdict.broken == []
        assert arena.topics.committed() == len(arena.feeder.log)


def test_5_the_broker_of_the_results_is_gone_for_three_minutes(
    kafka: str, other: LocalBroker, tmp_path: Path
) -> None:
    """Frames go on coming all the time, and there are more than may be in flight."""
    with Arena(kafka, tmp_path, results_at=other.address) as arena:
        enough = threading.Event()
        worker = arena.start()
        url = worker.until_ready()
        feeding = arena.feeder.keep_feeding(50, enough)
        try:
            arena.until_scored(500)
            # Its dead letter is the first, and finds its broker away.
            arena.feeder.send([Message(b"no picture", b"cam-1", must_be="rejected")])
            sit_out(other, worker.pid, url)
            arena.fault_ended("the results' broker was gone for three minutes", BACK_WITHIN_S)
            assert metric(url, "headrace_consumer_pauses_total") > 0
        finally:
            enough.set()
            feeding.join()
        arena.until_all_done()
        arena.stop_all()
        verdict = arena.verdict("5-outage-of-results", most_duplicates=WINDOW)
        assert verdict.broken == []
        assert arena.topics.committed() == len(arena.feeder.log)


def throw_out_all(arena: Arena) -> int:
    """Takes all members out of the group; gives how many there were."""
    admin = KafkaAdminClient(bootstrap_servers=arena.topics.servers)
    try:
        group = arena.topics.name
        members = admin.describe_groups([group])[group]["members"]
        if members:
            admin.remove_group_members(group, [MemberToRemove(m["member_id"]) for m in members])
        return len(members)
    finally:
        admin.close()


def test_7_members_that_are_thrown_out_join_again(arena: Arena) -> None:
    """What they have in flight is another's from that moment on: their commits are refused."""
    arena.plants = (SLOW,)
    pause, enough = threading.Event(), threading.Event()
    committed: list[int] = []
    thrown_out = 0
    for _ in range(2):
        arena.start().until_ready()
    feeding = arena.feeder.keep_feeding(200, enough)
    try:
        for _ in range(5):
            arena.until_scored(arena.scored() + 300)
            thrown_out += throw_out_all(arena)
            pause.wait(2)
            committed.append(arena.topics.committed())
    finally:
        enough.set()
        feeding.join()
    arena.until_all_done()
    arena.stop_all()
    committed.append(arena.topics.committed())
    verdict = arena.verdict("7-fenced", most_duplicates=WINDOW * thrown_out, most_gap_s=30.0)
    assert verdict.broken == []
    assert thrown_out >= 5
    assert committed == sorted(committed)
    assert committed[-1] == len(arena.feeder.log)
