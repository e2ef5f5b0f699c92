from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.artifact.registry import Registry
from pipeline.batch import BucketPlan
from pipeline.clock import SystemClock
from pipeline.engine.gentle import Rests, gently
from pipeline.engine.loading import Loader
from pipeline.errors import ArtifactRefused
from tests.artifacts import publish_tiny


def compute(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_a_rest_is_four_times_as_long_as_the_step_computed() -> None:
    waits: list[float] = []
    rests = Rests(waits.append)
    compute(0.02)
    rests()
    rests()
    first, second = waits
    assert 0.08 <= first < 1
    assert second < 0.02


def test_what_a_step_waited_for_is_no_work() -> None:
    waits: list[float] = []
    rests = Rests(waits.append)
    threading.Event().wait(0.1)
    rests()
    assert waits[0] < 0.1


def test_no_rest_is_longer_than_a_second() -> None:
    waits: list[float] = []
    rests = Rests(waits.append)
    compute(0.3)
    rests()
    assert waits == [1.0]


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priorities of their own here")
def test_the_work_gives_way_and_who_waits_for_it_does_not() -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = niceness()
    inside = gently(lambda _rest: niceness(), lambda _seconds: None)
    assert inside == min(before + 10, 19)
    assert niceness() == before


def test_what_the_work_raises_is_raised_and_its_thread_ends() -> None:
    threads = threading.active_count()

    def fails(_rest: Callable[[], None]) -> None:
        raise ArtifactRefused("corrupt", "it is torn")

    with pytest.raises(ArtifactRefused, match="it is torn"):
        gently(fails, lambda _seconds: None)
    assert threading.active_count() == threads


def test_a_load_rests_after_each_step(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path))
    publish_tiny(registry, "tiny")
    rests: list[int] = []
    loader = Loader("cpu", BucketPlan.of(4, max_wait_s=0.0), SystemClock())
    artifact = registry.read("tiny", 1)
    model = loader.load(artifact, 1, lambda: rests.append(1))
    steps_of_loading = 3  # reading, fusing, the golden inputs
    assert len(rests) == steps_of_loading + 3 * len(model.infer_s)
    assert loader.load(artifact, 2).identity.epoch == 2
