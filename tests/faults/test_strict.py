"""Strict mode: rows and offsets agree, whatever happens. Row 13, and the second half of row 7."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import EXIT_FAILED, EXIT_RESTART
from tests.faults.arena import Arena
from tests.faults.devices import SLOW, WEDGED_COMMIT
from tests.faults.scenarios import expire, freeze, handover, kills, storm, zombie
from tests.kafka.broker import LocalBroker
from tests.support import wait_until

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.slow,
]

LONGER_THAN_A_RECORD_S = 12
LONGER_THAN_A_TRANSACTION_S = 30
"""A transaction has up to 16 s, and the broker looks every ten."""


@pytest.fixture
def strict(arena: Arena) -> Arena:
    """An arena whose workers are strict."""
    arena.is_strict = True
    return arena


@pytest.fixture(scope="module")
def other() -> Iterator[LocalBroker]:
    """A broker of these tests' own, which they freeze and end."""
    with LocalBroker() as broker:
        yield broker


def require_one_row_each(arena: Arena, name: str, **claims: object) -> None:
    """All workers stop; then each frame has one row that readers of what is committed see."""
    arena.stop_all()
    verdict = arena.verdict(name, most_duplicates=0, **claims)
    assert verdict.broken == []
    assert verdict.duplicates == 0
    assert arena.topics.committed() == len(arena.feeder.log)


@pytest.mark.parametrize("times", [1, pytest.param(12, marks=pytest.mark.faults)])
def test_1_killed_strict_workers_lose_and_double_nothing(strict: Arena, times: int) -> None:
    strict.plants = (SLOW,)
    kills(strict, times=times, seed=times)
    require_one_row_each(strict, f"strict-1-kills-{times}")


@pytest.mark.faults
def test_2_a_strict_worker_that_is_told_to_stop_under_load(strict: Arena) -> None:
    enough = threading.Event()
    leaving, staying = strict.start(), strict.start()
    staying.until_ready()
    leaving.until_ready()
    feeding = strict.feeder.keep_feeding(300, enough)
    try:
        strict.until_scored(300)
        summary = strict.stop(leaving)
        strict.until_scored(strict.scored() + 300)
    finally:
        enough.set()
        feeding.join()
    strict.until_all_done()
    assert summary["in_flight"] == 0
    require_one_row_each(strict, "strict-2-drain", has_all_summaries=True)


@pytest.mark.faults
def test_3_a_frozen_strict_worker_writes_no_row_of_anothers(strict: Arena) -> None:
    zombie(strict)
    require_one_row_each(strict, "strict-3-zombie")


@pytest.mark.faults
@pytest.mark.parametrize("way", ["terminate", "kill"])
def test_4_a_broker_that_goes_and_comes_back(other: LocalBroker, tmp_path: Path, way: str) -> None:
    with Arena(other.address, tmp_path) as arena:
        arena.is_strict = True
        arena.feeder.feed(4000)
        arena.start()
        arena.until_scored(500)
        getattr(other, way)()
        threading.Event().wait(5)  # the outage
        other.start_again()
        arena.until_all_done()
        require_one_row_each(arena, f"strict-4-broker-{way}")


@pytest.mark.faults
def test_6_strict_workers_that_come_and_go_every_two_seconds(strict: Arena) -> None:
    storm(strict)
    require_one_row_each(strict, "strict-6-storm", has_all_summaries=True)


@pytest.mark.faults
def test_6_a_strict_worker_that_comes_while_the_other_has_its_hands_full(strict: Arena) -> None:
    strict.plants = (SLOW,)
    handover(strict)
    require_one_row_each(strict, "strict-6-handover", has_all_summaries=True)


@pytest.mark.faults
def test_7_the_second_worker_of_a_slot_ends_the_first(strict: Arena) -> None:
    enough = threading.Event()
    source = f"{strict.topics.source}&mode=strict&slot=same"
    first = strict.start(source=source)
    first.until_ready()
    feeding = strict.feeder.keep_feeding(200, enough)
    try:
        strict.until_scored(300)
        second = strict.start(source=source)
        second.until_ready()
        assert first.end(60) == EXIT_FAILED
        strict.until_scored(strict.scored() + 300)
    finally:
        enough.set()
        feeding.join()
    assert "another worker" in first.said()
    assert "slot" in first.said().splitlines()[-1]
    strict.forget(first)
    strict.until_all_done()
    require_one_row_each(strict, "strict-7-slot")


@pytest.mark.faults
def test_7_a_worker_that_was_frozen_while_another_took_its_slot_ends(strict: Arena) -> None:
    strict.feeder.feed(3000)
    source = f"{strict.topics.source}&mode=strict&slot=same"
    frozen = strict.start(source=source)
    strict.until_scored(100)
    frozen.signal(signal.SIGSTOP)
    strict.start(source=source)
    wait_until(lambda: strict.topics.committed() > 1000, 90)
    frozen.signal(signal.SIGCONT)
    strict.feeder.feed(500)
    assert frozen.end(60) == EXIT_FAILED
    assert "another worker" in frozen.said()
    strict.forget(frozen)
    strict.until_all_done()
    require_one_row_each(strict, "strict-7-zombie")


@pytest.mark.faults
def test_7_a_worker_that_was_frozen_beyond_its_transactions_goes_on(strict: Arena) -> None:
    """Nobody took its slot: the broker aborted what was open, which looks the same to a client."""
    strict.feeder.feed(3000)
    worker = strict.start()
    strict.until_scored(100)
    freeze(strict, worker, LONGER_THAN_A_TRANSACTION_S)
    strict.until_all_done()
    require_one_row_each(strict, "strict-7-timeout")


@pytest.mark.faults
@pytest.mark.parametrize("seconds", [LONGER_THAN_A_RECORD_S, LONGER_THAN_A_TRANSACTION_S])
def test_13_a_batch_that_expires_is_written_in_another_transaction(
    other: LocalBroker, tmp_path: Path, seconds: int
) -> None:
    """The broker is frozen under load, for longer than a record may take, or a transaction."""
    with Arena(other.address, tmp_path) as arena:
        worker = expire(arena, other, seconds)
        arena.until_all_done()
        assert "writing them again" in worker.said()
        require_one_row_each(arena, f"strict-13-frozen-{seconds}")


@pytest.mark.faults
def test_24_a_commit_that_never_returns_ends_the_worker_and_the_next_one_goes_on(
    strict: Arena,
) -> None:
    strict.plants = (SLOW, WEDGED_COMMIT)
    strict.feeder.feed(600)
    worker = strict.start(env={"HEADRACE_LIFECYCLE__STALL_TIMEOUT_S": "3"})
    assert worker.end() == EXIT_RESTART, worker.said()
    assert "a collect hasn't returned" in worker.said()
    strict.forget(worker)
    strict.plants = ()
    strict.start()
    strict.until_all_done()
    require_one_row_each(strict, "strict-24-commit")
