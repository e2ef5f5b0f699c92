"""Row 20 of the matrix, for as long as it takes: what a thousand swaps leave behind."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator

import psutil
import pytest

from tests.faults.arena import Arena, swap_count
from tests.faults.devices import COUNTED_NETWORKS
from tests.flow.process import Headrace
from tests.support import wait_until

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.slow,
    pytest.mark.faults,
    pytest.mark.timeout(3600),
]

SWAPS = 1000
WARM_SWAPS = 100
"""Until then caches fill and pools grow, which is no leak."""
SLACK_BYTES = 32 << 20
FRAMES_PER_S = 200


def test_20_a_thousand_swaps_under_load_leave_nothing_behind(arena: Arena) -> None:
    """Each to a network of its own: no row is a wrong model's, and two are in memory at most."""
    arena.plants = (COUNTED_NETWORKS,)
    enough = threading.Event()
    worker = arena.start(env={"HEADRACE_MODEL__WATCH_INTERVAL_S": "0.02"})
    worker.until_ready()
    feeding = arena.feeder.keep_feeding(FRAMES_PER_S, enough)
    try:
        weights = list(swapped(arena, worker))
    finally:
        enough.set()
        feeding.join()
    arena.until_all_done()
    arena.stop_all()
    verdict = arena.verdict("20-thousand-swaps", has_all_summaries=True, has_one_worker=True)
    assert verdict.broken == []
    assert verdict.models > 0.9 * SWAPS
    in_memory = re.findall(r"networks in memory: (\d+)", worker.said())
    assert len(in_memory) == SWAPS + 1
    assert set(in_memory) == {"1", "2"}
    warm, last = weights[WARM_SWAPS - 1], weights[-1]
    assert last < warm + SLACK_BYTES, weights[::WARM_SWAPS]


def swapped(arena: Arena, worker: Headrace) -> Iterator[int]:
    """Publishes one network after the other, each when the one before has taken over; gives how
    many bytes the worker has resident after each."""
    process = psutil.Process(worker.pid)
    for count in range(1, SWAPS + 1):
        arena.publish(100 + count)
        wait_until(lambda wanted=count: swap_count(worker, "swapped") == wanted, 120)
        yield process.memory_info().rss
