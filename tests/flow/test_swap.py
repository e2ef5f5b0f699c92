from __future__ import annotations

import gc
import threading
import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import psutil
import pytest

from pipeline.artifact.artifact import Artifact
from pipeline.engine import backends, loading, refusals, stage
from pipeline.engine.base import Engine
from pipeline.engine.halving import score_halving
from pipeline.engine.torchscript import TorchScriptEngine, load_torchscript
from pipeline.errors import EXIT_RESTART, RestartNeeded
from pipeline.source.base import Source, SourceInfo
from pipeline.types import BatchNhwc, Frame, LogitsNk
from pipeline.worker import Worker
from tests.artifacts import LABELS, SPEC, Hungry, publish_tiny, scripted, tiny_draft
from tests.flow.rig import Rig, results, version_of
from tests.support import noise_jpeg, wait_until


def endless(rig: Rig) -> Worker:
    return rig.worker(sources=[rig.memory([noise_jpeg(320, 240)], 10**9)])


class Pausing:
    """Another source, that has nothing to give after so many frames. See ``Source``."""

    def __init__(self, inner: Source, after: int) -> None:
        self._inner = inner
        self._left = after

    @property
    def info(self) -> SourceInfo:
        return self._inner.info

    def open(self) -> None:
        self._inner.open()

    def poll(self, room: int, timeout_s: float) -> Sequence[Frame]:
        if not self._left:
            threading.Event().wait(timeout_s)
            return ()
        frames = self._inner.poll(min(room, self._left), timeout_s)
        self._left -= len(frames)
        return frames

    def commit(self, next_offsets: Mapping[tuple[str, int], int]) -> None:
        self._inner.commit(next_offsets)

    def close(self) -> None:
        self._inner.close()


def test_a_hundred_swaps_under_load_lose_and_double_nothing(rig: Rig) -> None:
    worker = endless(rig)
    summaries = rig.start(worker)
    wait_until(lambda: worker.summary().scored > 100)
    published = {1: rig.registry.manifest("tiny", 1).sha256}
    process = psutil.Process()
    resident_bytes: list[int] = []
    for number in range(1, 101):
        manifest = publish_tiny(rig.registry, "tiny", bias=number / 100)
        published[manifest.version] = manifest.sha256
        wait_until(lambda wanted=manifest.version: version_of(worker) == wanted)
        if number % 10 == 0:
            gc.collect()
            resident_bytes.append(process.memory_info().rss)
    wait_until(lambda: worker.summary().swaps == 100)
    worker.stop()
    summary = rig.finish(summaries)
    rows = rig.rows()
    assert summary.swaps == 100
    assert summary.received == summary.scored == len(rows)
    assert max(Counter(row["frame_id"] for row in rows).values()) == 1
    assert [row["source"]["offset"] for row in rows] == list(range(len(rows)))
    epochs = [row["model"]["epoch"] for row in rows]
    assert epochs == sorted(epochs)
    for row in rows:
        assert row["model"]["sha256"] == published[row["model"]["version"]]
    grown_bytes = resident_bytes[-1] - resident_bytes[2]
    assert grown_bytes < 64 * 1024 * 1024, resident_bytes


def test_going_back_is_a_swap_with_a_new_epoch(rig: Rig) -> None:
    worker = endless(rig)
    summaries = rig.start(worker)
    wait_until(lambda: worker.summary().scored > 10)
    publish_tiny(rig.registry, "tiny", bias=1.0)
    wait_until(lambda: version_of(worker) == 2)
    rig.registry.set_alias("tiny", "latest", 1)
    wait_until(lambda: version_of(worker) == 1)
    wait_until(lambda: worker.summary().swaps == 2)
    worker.stop()
    rig.finish(summaries)
    seen = dict.fromkeys((row["model"]["version"], row["model"]["epoch"]) for row in rig.rows())
    assert list(seen) == [(1, 1), (2, 2), (1, 3)]


def test_a_refused_version_with_the_bytes_of_a_good_one_does_not_spoil_the_good_one(
    rig: Rig,
) -> None:
    worker = endless(rig)
    summaries = rig.start(worker)
    wait_until(lambda: worker.summary().scored > 10)
    misnamed = publish_tiny(rig.registry, "tiny", labels=("dim", *LABELS[1:]))
    assert misnamed.sha256 == rig.registry.manifest("tiny", 1).sha256
    wait_until(lambda: results(worker) == ["incompatible"])
    publish_tiny(rig.registry, "tiny", bias=1.0)
    wait_until(lambda: version_of(worker) == 3)
    rig.registry.set_alias("tiny", "latest", 1)
    wait_until(lambda: version_of(worker) == 1)
    worker.stop()
    rig.finish(summaries)


def test_a_registry_that_goes_away_does_not_stop_the_scoring(rig: Rig) -> None:
    worker = endless(rig)
    summaries = rig.start(worker)
    wait_until(lambda: worker.summary().scored > 10)
    folder = rig.folder / "registry"
    folder.rename(rig.folder / "moved")
    wait_until(lambda: "unreachable" in results(worker))
    so_far = worker.summary().scored
    wait_until(lambda: worker.summary().scored > so_far + 100)
    (rig.folder / "moved").rename(folder)
    publish_tiny(rig.registry, "tiny", bias=0.5)
    wait_until(lambda: version_of(worker) == 2)
    worker.stop()
    assert rig.finish(summaries).exit_code == 0


def test_the_same_bytes_under_another_version_are_a_swap_too(rig: Rig) -> None:
    worker = endless(rig)
    summaries = rig.start(worker)
    wait_until(lambda: worker.summary().scored > 10)
    publish_tiny(rig.registry, "tiny")
    wait_until(lambda: version_of(worker) == 2)
    worker.stop()
    rig.finish(summaries)
    digests = {row["model"]["sha256"] for row in rig.rows()}
    assert digests == {rig.registry.manifest("tiny", 1).sha256}


def test_a_swap_during_the_drain_harms_nothing(rig: Rig) -> None:
    for _ in range(5):
        rig.out.unlink(missing_ok=True)
        worker = endless(rig)
        summaries = rig.start(worker)
        wait_until(lambda worker=worker: worker.summary().scored > 10)
        publisher = threading.Thread(
            target=publish_tiny, args=(rig.registry, "tiny"), kwargs={"bias": 0.3, "spec": SPEC}
        )
        publisher.start()
        worker.stop()
        publisher.join(20)
        summary = rig.finish(summaries)
        assert (summary.exit_code, summary.in_flight) == (0, 0)
        assert summary.scored == len(rig.rows())


def test_each_swap_is_told_with_its_numbers(rig: Rig) -> None:
    worker = rig.worker(sources=[rig.memory([noise_jpeg()], 10**9)])
    summaries = rig.start(worker)
    wait_until(lambda: worker.summary().scored > 10)
    manifest = publish_tiny(rig.registry, "tiny", bias=0.5)
    wait_until(lambda: worker.live.snapshot()["swaps"])
    (event,) = worker.live.snapshot()["swaps"]
    assert (event["version"], event["sha256"], event["epoch"]) == (2, manifest.sha256, 2)
    assert event["result"] == "swapped"
    assert event["pause_ms"] >= 0
    value = worker.metrics.registry.get_sample_value
    assert value("headrace_model_swap_pause_seconds_count") == 1
    assert value(
        "headrace_model_info", {"model": "tiny", "version": "2", "sha256": manifest.sha256}
    )
    assert value("headrace_model_info", {"model": "tiny", "version": "1"}) is None
    worker.stop()
    rig.finish(summaries)


def test_an_alias_that_goes_back_ends_what_is_made_ready(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_there, may_go_on = threading.Event(), threading.Event()
    threads: list[str] = []
    check = loading.check_golden

    def hold(engine: Engine, artifact: Artifact) -> None:
        threads.append(threading.current_thread().name)
        is_there.set()
        may_go_on.wait(30)
        check(engine, artifact)

    worker = endless(rig)
    summaries = rig.start(worker)
    wait_until(lambda: worker.summary().scored > 10)
    monkeypatch.setattr(loading, "check_golden", hold)
    publish_tiny(rig.registry, "tiny", bias=0.5)
    assert is_there.wait(30)
    rig.registry.set_alias("tiny", "latest", 1)
    threading.Event().wait(0.5)  # the worker looks more often than that
    may_go_on.set()
    wait_until(lambda: "warming" not in {thread.name for thread in threading.enumerate()})
    publish_tiny(rig.registry, "tiny", bias=0.6)
    wait_until(lambda: version_of(worker) == 3)
    wait_until(lambda: worker.summary().swaps == 1)
    worker.stop()
    rig.finish(summaries)
    assert results(worker) == ["swapped"]
    assert {row["model"]["version"] for row in rig.rows()} == {1, 3}
    assert set(threads) == {"warming"}


def test_a_stop_ends_what_is_made_ready(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    is_there = threading.Event()
    check = loading.check_golden

    def tell(engine: Engine, artifact: Artifact) -> None:
        is_there.set()
        check(engine, artifact)

    def linger(engine: TorchScriptEngine, batch_nhwc: BatchNhwc) -> LogitsNk:
        if threading.current_thread().name == "warming":
            threading.Event().wait(2)  # some thirty times, if nobody ends it
        return score(engine, batch_nhwc)

    score = TorchScriptEngine.score
    worker = endless(rig)
    summaries = rig.start(worker)
    wait_until(lambda: worker.summary().scored > 10)
    monkeypatch.setattr(loading, "check_golden", tell)
    monkeypatch.setattr(TorchScriptEngine, "score", linger)
    publish_tiny(rig.registry, "tiny", bias=0.5)
    assert is_there.wait(30)
    worker.stop()
    assert rig.finish(summaries).swaps == 0
    wait_until(lambda: all(each.name != "warming" for each in threading.enumerate()), 10)


@pytest.fixture
def resident(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many networks were in memory each time that one had been loaded."""
    engines: weakref.WeakSet[TorchScriptEngine] = weakref.WeakSet()
    counts: list[int] = []

    def load(model: bytes, device: str, _rest: object = None) -> TorchScriptEngine:
        engine = load_torchscript(model, device)
        engines.add(engine)
        counts.append(len(engines))
        return engine

    monkeypatch.setattr(backends, "load_torchscript", load)
    return counts


def test_where_no_frames_come_a_model_that_is_replaced_is_let_go(
    rig: Rig, resident: list[int]
) -> None:
    worker = rig.worker(sources=[Pausing(rig.memory([noise_jpeg()], 10**9), after=20)])
    summaries = rig.start(worker)
    wait_until(lambda: worker.summary().scored == 20)
    for version in (2, 3, 4):
        publish_tiny(rig.registry, "tiny", bias=version / 10)
        wait_until(lambda wanted=version: version_of(worker) == wanted)
    worker.stop()
    rig.finish(summaries)
    assert resident == [1, 2, 2, 2]


def test_of_two_swaps_within_one_batch_the_second_waits_for_its_end(
    rig: Rig, resident: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def score(engine: Engine, rows: BatchNhwc, classes: int, most: int) -> LogitsNk:
        begun.set()
        may_end.wait(30)
        return score_halving(engine, rows, classes, most)

    monkeypatch.setattr(stage, "score_halving", score)
    worker = endless(rig)
    summaries = rig.start(worker)
    begun.wait(30)
    publish_tiny(rig.registry, "tiny", bias=0.2)
    wait_until(lambda: version_of(worker) == 2)
    publish_tiny(rig.registry, "tiny", bias=0.3)
    publish_tiny(rig.registry, "tiny", bias=0.4)
    threading.Event().wait(4)  # time enough for the next one
    assert version_of(worker) == 2
    may_end.set()
    wait_until(lambda: version_of(worker) == 4)
    wait_until(lambda: worker.summary().swaps == 2)
    worker.stop()
    rig.finish(summaries)
    assert resident == [1, 2, 2]
    rows = rig.rows()
    assert rows[0]["model"]["version"] == 1
    assert [row["source"]["offset"] for row in rows] == list(range(len(rows)))
    epochs = [row["model"]["epoch"] for row in rows]
    assert epochs == sorted(epochs)


def test_a_model_without_room_beside_the_active_one_is_tried_again_later(
    rig: Rig, resident: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "AGAIN_S", 0.1)
    worker = endless(rig)
    summaries = rig.start(worker)
    wait_until(lambda: worker.summary().scored > 10)
    rig.registry.publish(replace(tiny_draft(), model=scripted(Hungry(room=0))))
    wait_until(lambda: len(resident) > 3)
    assert results(worker) == ["no_room"]
    assert version_of(worker) == 1
    publish_tiny(rig.registry, "tiny", bias=0.5)
    wait_until(lambda: version_of(worker) == 3)
    worker.stop()
    assert rig.finish(summaries).exit_code == 0


def test_a_device_that_is_lost_with_a_candidate_ends_the_worker_for_its_supervisor(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(model: bytes, device: str, _rest: object) -> TorchScriptEngine:
        raise RestartNeeded("the device failed")

    worker = endless(rig)
    summaries = rig.start(worker)
    wait_until(lambda: worker.summary().scored > 10)
    monkeypatch.setattr(backends, "load_torchscript", lose)
    publish_tiny(rig.registry, "tiny", bias=0.5)
    assert rig.finish(summaries).exit_code == EXIT_RESTART
