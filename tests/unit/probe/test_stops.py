from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from pipeline.clock import ManualClock
from pipeline.engine.gentle import Rests
from pipeline.probe.stops import Stops


@pytest.fixture
def group() -> Iterator[int]:
    """A process that waits, in a group of its own."""
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, process_group=0
    ) as process:
        yield process.pid
        process.kill()


def test_where_nobody_tells_its_cpu_all_time_is_work_but_its_rests(group: int) -> None:
    clock = ManualClock()
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        clock.advance(seconds)

    stops = Stops(group, Rests(wait, times=lambda: 10.0), clock, 1.0, by_cpu=False)
    for _ in range(40):
        clock.advance(0.004)
        stops.look()
    assert waits == pytest.approx([0.04] * 25)  # a second in all, and then it is let alone
    assert stops.stopped_s == pytest.approx(1.0)


def test_who_waits_has_no_rests(group: int) -> None:
    waits: list[float] = []
    clock = ManualClock()
    stops = Stops(group, Rests(waits.append, times=lambda: 10.0), clock, 1.0, by_cpu=True)
    stops.look()  # it may have been starting until now
    waits.clear()
    for _ in range(10):
        clock.advance(0.004)
        stops.look()
    assert sum(waits) < 0.5
