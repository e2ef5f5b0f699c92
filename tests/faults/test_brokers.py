"""Rows 4 and 12 of the matrix: the broker dies, and results that can't be written."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest
from kafka import KafkaAdminClient

from tests.faults.arena import WINDOW, Arena, metric
from tests.faults.scenarios import is_alive, outage_and_kill, refused_results
from tests.faults.slow_way import SlowWay
from tests.kafka.broker import LocalBroker
from tests.support import wait_until

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.slow,
]

BACK_WITHIN_S = 10.0
SLACK_BYTES = 64 << 20
"""What a process may grow by besides the frames in flight: buffers, and Python's own."""


@pytest.fixture(scope="module")
def slow_way() -> Iterator[SlowWay]:
    """A way to the other broker that can be made slow."""
    with SlowWay(bytes_per_s=20_000) as way:
        yield way


@pytest.fixture(scope="module")
def other(slow_way: SlowWay) -> Iterator[LocalBroker]:
    """A broker of these tests' own, which they freeze and end."""
    with LocalBroker([slow_way.listener]) as broker:
        yield broker


class Settled:
    """A worker that has scored a thousand frames, as it was before its results were held up."""

    def __init__(self, arena: Arena, env: Mapping[str, str] | None = None) -> None:
        worker = arena.start(env=env)
        self.url = worker.until_ready()
        arena.feeder.feed(1000)
        arena.until_scored(1000)
        self._process = psutil.Process(worker.pid)
        self._rebalances = metric(self.url, "headrace_consumer_rebalances_total")
        self._used_bytes = self._process.memory_info().rss

    def until_it_pauses(self) -> None:
        """Waits until it takes no more frames for now."""
        wait_until(lambda: metric(self.url, "headrace_consumer_pauses_total") > 0, 30)

    def require_bounds(self) -> None:
        """It lives, holds no more than its window, and is the member that it was."""
        assert is_alive(self.url)
        assert metric(self.url, "headrace_frames_in_flight") <= WINDOW
        assert self._process.memory_info().rss < self._used_bytes + SLACK_BYTES
        assert metric(self.url, "headrace_consumer_rebalances_total") == self._rebalances


@pytest.mark.parametrize("way", [pytest.param("terminate", marks=pytest.mark.faults), "kill"])
def test_4_a_broker_that_goes_and_comes_back(other: LocalBroker, tmp_path: Path, way: str) -> None:
    with Arena(other.address, tmp_path) as arena:
        arena.feeder.feed(4000)
        url = arena.start().until_ready()
        wait_until(lambda: metric(url, "headrace_frames_scored_total") > 500, 60)
        getattr(other, way)()
        threading.Event().wait(5)  # the outage
        assert is_alive(url)
        other.start_again()
        arena.fault_ended(f"the broker was gone: {way}", BACK_WITHIN_S)
        arena.until_all_done()
        arena.stop_all()
        verdict = arena.verdict(f"4-broker-{way}", most_duplicates=WINDOW)
        assert verdict.broken == []
        assert arena.topics.committed() == len(arena.feeder.log)


def test_12_results_that_nobody_takes_for_a_while(
    kafka: str, other: LocalBroker, tmp_path: Path
) -> None:
    """Their broker is frozen: connections stay open and nothing is answered."""
    with Arena(kafka, tmp_path, results_at=other.address) as arena:
        # Liveness is of the worker: starting it again would mend nothing.
        worker = Settled(arena, {"HEADRACE_LIFECYCLE__STALL_TIMEOUT_S": "5"})
        wait_until(lambda: arena.topics.committed() == 1000, 10)
        with other.frozen():
            arena.feeder.feed(2000)
            worker.until_it_pauses()
            threading.Event().wait(12)  # twice the session: without polls it would be over
            worker.require_bounds()
            assert arena.topics.committed() == 1000
        arena.fault_ended("the results' broker was frozen", BACK_WITHIN_S)
        arena.until_all_done()
        arena.stop_all()
        verdict = arena.verdict("12-dead-results")
        assert verdict.broken == []
        assert arena.topics.committed() == len(arena.feeder.log)


@pytest.mark.faults
def test_12_results_that_are_taken_slowly(
    kafka: str, slow_way: SlowWay, other: LocalBroker, tmp_path: Path
) -> None:
    """At a part of the speed at which frames come: they wait in their topic, not in the worker."""
    seen_at = {other.address: slow_way.address}
    with Arena(kafka, tmp_path, results_at=other.address, seen_at=seen_at) as arena:
        worker = Settled(arena)
        enough = threading.Event()
        with slow_way.slow():
            arena.feeder.feed(1500)
            feeding = arena.feeder.keep_feeding(100, enough)
            try:
                worker.until_it_pauses()
                for _ in range(6):  # in all twice the session
                    written = arena.scored()
                    wait_until(lambda: arena.scored() > written, 60)  # noqa: B023
                    threading.Event().wait(2)
                    assert arena.topics.committed() <= arena.scored()
                    worker.require_bounds()
            finally:
                enough.set()
                feeding.join()
        arena.until_all_done()
        arena.stop_all()
        verdict = arena.verdict("12-slow-results", has_all_summaries=True, has_one_worker=True)
        assert verdict.broken == []
        assert verdict.duplicates == 0
        assert arena.topics.committed() == len(arena.feeder.log)


def test_12_a_worker_that_is_killed_while_nobody_takes_results(
    kafka: str, other: LocalBroker, tmp_path: Path
) -> None:
    with Arena(kafka, tmp_path, results_at=other.address) as arena:
        outage_and_kill(arena, other)
        arena.stop_all()
        verdict = arena.verdict("12-killed-in-outage", most_duplicates=WINDOW)
        assert verdict.broken == []


def test_12_a_topic_of_results_that_is_deleted_ends_the_worker(arena: Arena) -> None:
    """Nothing is committed past what was written."""
    worker = arena.start()
    worker.until_ready()
    arena.feeder.feed(500)
    arena.until_scored(500)
    admin = KafkaAdminClient(bootstrap_servers=arena.topics.servers)
    admin.delete_topics([arena.topics.results])
    admin.close()
    arena.feeder.feed(500)
    assert worker.end(90) in (1, 2)
    assert "there is no topic" in worker.summary()["error"]
    assert "Traceback" not in worker.said()
    assert arena.topics.committed() == 500


def test_12_results_that_their_topic_never_takes_end_the_worker(arena: Arena) -> None:
    refused_results(arena)
    summary = arena.ended(arena.workers[0], code=1)
    assert "max.message.bytes" in str(summary)
    assert arena.verdict("12-refused").forgotten == []
    assert arena.topics.committed() == 0
