"""Row 8 of the matrix: a worker whose network to the broker is cut, slow, or loses packets.

A second worker stands beside the broker, so what the first one can't do is done.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.arena import WINDOW, Arena, metric
from tests.faults.network import Apart, FarBroker, needs_namespaces
from tests.support import wait_until

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.slow,
    pytest.mark.faults,
    pytest.mark.timeout(600),
    needs_namespaces,
]

FRAMES_PER_S = 100
BACK_WITHIN_S = 30.0
MOST_REBALANCES = 12
"""Of one fault, as the worker counts them: given up, lost or got, a few each; flapping is more."""


class Stage:
    """A link, a broker, and both workers under load."""

    def __init__(self, link: Apart, arena: Arena, stop_feeding: Callable[[], None]) -> None:
        self.link = link
        self.arena = arena
        self._stop_feeding = stop_feeding
        self.committed: list[int] = []
        arena.start().until_ready()
        self.far = arena.start("--host", link.far, inside=link.inside)
        self.url = self.far.until_ready()
        self.until_far_scores()

    def until_far_scores(self, within_s: float = 60) -> None:
        """Waits until the far worker has scored some more frames."""
        before = metric(self.url, "headrace_frames_scored_total")
        wait_until(lambda: metric(self.url, "headrace_frames_scored_total") > before + 20, within_s)

    def wait(self, seconds: float) -> None:
        """Lets time pass, and looks at the group's offsets each second."""
        pause = threading.Event()
        for _ in range(round(seconds)):
            self.committed.append(self.arena.topics.committed())
            pause.wait(1)

    def judge(self, name: str) -> None:
        """Ends all and lets the checker judge."""
        self._stop_feeding()
        rebalances = metric(self.url, "headrace_consumer_rebalances_total")
        self.arena.until_all_done()
        self.arena.stop_all()
        self.committed.append(self.arena.topics.committed())
        verdict = self.arena.verdict(name, most_duplicates=WINDOW)
        assert verdict.broken == []
        assert self.committed == sorted(self.committed)
        assert self.committed[-1] == len(self.arena.feeder.log)
        assert rebalances <= MOST_REBALANCES


@contextmanager
def under_load(folder: Path) -> Iterator[Stage]:
    """A link, a broker, and both workers with something to do."""
    with Apart() as link, FarBroker(link.near) as broker, Arena(broker.address, folder) as arena:
        enough = threading.Event()
        feeding = arena.feeder.keep_feeding(FRAMES_PER_S, enough)

        def stop_feeding() -> None:
            enough.set()
            feeding.join()

        try:
            yield Stage(link, arena, stop_feeding)
        finally:
            stop_feeding()


@pytest.mark.parametrize("seconds", [5, 45, 120])
def test_8_a_worker_that_is_cut_off_gives_up_its_partitions_and_comes_back(
    tmp_path: Path, seconds: int
) -> None:
    """For less and for more than its session of six seconds."""
    with under_load(tmp_path) as stage:
        with stage.link.cut():
            stage.wait(seconds)
        stage.until_far_scores(BACK_WITHIN_S)
        stage.judge(f"8-cut-{seconds}s")


def test_8_a_network_that_is_slow_and_late(tmp_path: Path) -> None:
    """A quarter of a megabyte a second: some fifty frames, and half of the load."""
    with under_load(tmp_path) as stage:
        with stage.link.throttled():
            stage.wait(30)
            stage.until_far_scores(BACK_WITHIN_S)
        stage.judge("8-throttled")


def test_8_a_network_that_loses_packets(tmp_path: Path) -> None:
    with under_load(tmp_path) as stage:
        stage.link.lose_packets(30)
        stage.until_far_scores(BACK_WITHIN_S)
        stage.judge("8-loss")
