from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline.artifact.registry import Registry
from pipeline.batch import BucketPlan
from pipeline.clock import ManualClock, SystemClock
from pipeline.engine.gentle import Busy, Rests, gently, rest_times
from pipeline.engine.loading import Loader
from pipeline.engine.torchscript import TorchScriptEngine
from pipeline.errors import ArtifactRefused, StopRequested
from pipeline.types import BatchNhwc, LogitsNk
from tests.artifacts import publish_tiny
from tests.support import wait_until


def compute(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_a_rest_is_forty_times_as_long_as_the_step_computed() -> None:
    waits: list[float] = []
    rests = Rests(waits.append)
    compute(0.01)
    rests()
    rests()
    first, second = waits
    assert 0.4 <= first <= 1
    assert second < 0.1


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


def test_beside_a_calm_worker_nobody_rests() -> None:
    waits: list[float] = []
    checks: list[int] = []
    rests = Rests(waits.append, lambda: checks.append(1), lambda: rest_times(0.3))
    compute(0.02)
    rests()
    assert rests.due_s(0.5) == 0
    assert (waits, len(checks)) == ([], 1)


def test_a_rest_is_as_long_as_what_goes_on_beside_it_asks_for() -> None:
    share = 0.1
    rests = Rests(lambda _: None, times=lambda: rest_times(share))
    assert rests.due_s(0.01) == 0
    share = 0.9
    assert rests.due_s(0.01) == pytest.approx(0.4)


def test_the_busier_a_worker_the_longer_the_rests() -> None:
    assert [rest_times(share) for share in (0.0, 0.4, 0.405, 0.55, 0.7, 1.0)] == pytest.approx(
        [0, 0, 0, 20, 40, 40]
    )


def test_how_busy_a_worker_is_counts_for_the_last_seconds() -> None:
    clock = ManualClock()
    busy = Busy(2, clock.monotonic)
    assert busy.share() == 0.0
    before_s = time.process_time()
    compute(0.2)
    clock.advance(1.0)
    share, least = busy.share(), 0.2 / 2
    assert least <= share <= (time.process_time() - before_s + 0.1) / 2
    clock.advance(1.0)
    busy.share()
    clock.advance(1.0)
    assert busy.share() < least / 2  # that was before


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priorities of their own here")
def test_the_work_gives_way_and_who_waits_for_it_does_not() -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = niceness()
    inside = gently(niceness)
    assert inside == min(before + 10, 19)
    assert niceness() == before


def test_what_the_work_raises_is_raised_and_its_thread_ends() -> None:
    def fails() -> None:
        raise ArtifactRefused("corrupt", "it is torn")

    with pytest.raises(ArtifactRefused, match="it is torn"):
        gently(fails)
    wait_until(lambda: all(each.name != "warming" for each in threading.enumerate()))


def test_the_first_step_on_another_thread_is_where_rests_begin() -> None:
    waits: list[float] = []
    rests = Rests(waits.append)
    compute(0.05)
    gently(rests)
    assert waits == []


def test_who_is_not_wanted_any_more_rests_once_and_ends() -> None:
    def check_wanted() -> None:
        raise StopRequested("the worker is ending")

    waits: list[float] = []
    with pytest.raises(StopRequested):
        Rests(waits.append, check_wanted)()
    assert len(waits) == 1


def test_beside_frames_a_version_rests_after_each_step_and_is_measured_by_what_it_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(str(tmp_path))
    publish_tiny(registry, "tiny")
    score = TorchScriptEngine.score
    threads: set[str] = set()

    def late(engine: TorchScriptEngine, batch_nhwc: BatchNhwc) -> LogitsNk:
        threads.add(threading.current_thread().name)
        threading.Event().wait(0.05)  # others have the core
        return score(engine, batch_nhwc)

    monkeypatch.setattr(TorchScriptEngine, "score", late)
    waits: list[float] = []
    loader = Loader("cpu", BucketPlan.of(4, max_wait_s=0.0), SystemClock())
    artifact = registry.read("tiny", 1)
    model = loader.load(artifact, 1, Rests(waits.append))
    after_reading_fusing_and_golden = 3
    assert len(waits) == after_reading_fusing_and_golden + 2 * len(model.infer_s)
    assert threads == {"warming"}
    assert all(0 < taken_s < 0.05 for taken_s in model.infer_s.values())

    threads.clear()
    at_once = loader.load(artifact, 2)
    assert threads == {threading.current_thread().name}
    assert all(taken_s >= 0.05 for taken_s in at_once.infer_s.values())
