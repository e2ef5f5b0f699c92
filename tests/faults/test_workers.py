"""Rows 1, 2, 3 and 6 of the matrix: workers that die, stop, freeze, come and go."""

from __future__ import annotations

import signal
import threading

import pytest

from tests.faults.arena import WINDOW, Arena, series_count
from tests.faults.devices import SLOW
from tests.faults.scenarios import handover, kills, storm
from tests.support import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


@pytest.mark.timeout(600)
def test_1_killed_workers_lose_nothing(arena: Arena) -> None:
    """Where two of them died with the same frames in flight, these go one at a time: that takes."""
    arena.plants = (SLOW,)
    kills(arena, drain_s=150)
    arena.stop_all()
    verdict = arena.verdict("1-kills", most_duplicates=WINDOW * arena.kills)
    assert verdict.broken == []
    assert arena.topics.committed() == len(arena.feeder.log)


def test_2_a_worker_that_is_told_to_stop_under_load_leaves_no_duplicate(arena: Arena) -> None:
    enough = threading.Event()
    leaving, staying = arena.start(), arena.start()
    url = staying.until_ready()
    leaving.until_ready()
    feeding = arena.feeder.keep_feeding(300, enough)
    try:
        arena.until_scored(300)
        summary = arena.stop(leaving)
        # Three seconds, and one until the lag is looked at again.
        wait_until(lambda: series_count(url, "headrace_consumer_lag_records") == 4, 4)
        arena.until_scored(arena.scored() + 300)
    finally:
        enough.set()
        feeding.join()
    arena.until_all_done()
    arena.stop(staying)
    verdict = arena.verdict("2-drain", has_all_summaries=True)
    assert verdict.broken == []
    assert (verdict.duplicates, summary["in_flight"]) == (0, 0)
    assert arena.topics.committed() == len(arena.feeder.log)


def test_3_a_frozen_worker_gives_up_what_is_anothers(arena: Arena) -> None:
    """Frozen for longer than its session: its late completions are refused."""
    arena.feeder.feed(3000)
    committed: list[int] = []

    def has_committed(count: int) -> bool:
        committed.append(arena.topics.committed())
        return committed[-1] > count

    zombie = arena.start()
    arena.until_scored(100)
    zombie.signal(signal.SIGSTOP)
    arena.start()
    wait_until(lambda: has_committed(1000), 60)
    zombie.signal(signal.SIGCONT)
    wait_until(lambda: has_committed(len(arena.feeder.log) - 1), 90)
    arena.stop_all()
    committed.append(arena.topics.committed())
    verdict = arena.verdict("3-zombie", most_duplicates=WINDOW)
    assert verdict.broken == []
    assert committed == sorted(committed)
    assert committed[-1] == len(arena.feeder.log)


@pytest.mark.faults
def test_6_workers_that_come_and_go_every_two_seconds(arena: Arena) -> None:
    storm(arena)
    arena.stop_all()
    verdict = arena.verdict("6-storm", has_all_summaries=True, most_gap_s=10.0)
    assert verdict.broken == []
    assert arena.topics.committed() == len(arena.feeder.log)


def test_6_a_worker_that_comes_while_the_other_has_its_hands_full(arena: Arena) -> None:
    arena.plants = (SLOW,)
    handover(arena)
    arena.stop_all()
    verdict = arena.verdict("6-handover", has_all_summaries=True, most_gap_s=10.0)
    assert verdict.broken == []
    assert arena.topics.committed() == len(arena.feeder.log)
