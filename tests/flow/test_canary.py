"""A version that scores a share of the streams before it scores all of them."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence

import pytest
from msgspec import structs

from pipeline.clock import SystemClock
from pipeline.config import ModelSettings
from pipeline.engine import backends, halving
from pipeline.engine.base import Engine, EngineOutOfMemory
from pipeline.engine.torchscript import load_torchscript
from pipeline.errors import EXIT_RESTART, RestartNeeded
from pipeline.source.memory import MemorySource
from pipeline.summary import Summary
from pipeline.types import BatchNhwc, Frame, LogitsNk
from pipeline.worker import Worker
from tests.artifacts import publish_tiny
from tests.flow.rig import Rig, detail, events, metric
from tests.networks import NO_NUMBERS, RAISES, TOO_FEW, wrong_on_white
from tests.pictures import GREY, WHITE
from tests.support import wait_until

MEANS = (90 / 255, 1.0)
STREAMS = ("north", "east", "south", "west")


class Brightening(MemorySource):
    """Grey pictures, and white ones once it is bright. See ``Source``."""

    def __init__(self, name: str, is_bright: threading.Event) -> None:
        super().__init__([GREY], 10**9, SystemClock(), name=name)
        self._is_bright = is_bright

    def poll(self, room: int, timeout_s: float) -> Sequence[Frame]:
        frames = super().poll(room, timeout_s)
        payload = WHITE if self._is_bright.is_set() else GREY
        return [structs.replace(each, payload=payload) for each in frames]


@pytest.fixture
def is_bright() -> threading.Event:
    return threading.Event()


def trying(rig: Rig, is_bright: threading.Event, **more: object) -> tuple[Worker, list[Summary]]:
    """A worker on four streams that scores already; a version is soon out of the shadow."""
    model = ModelSettings.model_validate(
        {
            "name": "tiny",
            "registry": rig.registry.url,
            "state_folder": str(rig.folder / "state"),
            "watch_interval_s": 0.02,
            "probe": "never",
            "rollout": "canary",
            "shadow_frames": 100,
            "canary_share": 0.3,
            "canary_frames": 10**9,
            **more,
        }
    )
    sources = [Brightening(name, is_bright) for name in STREAMS]
    worker = rig.worker(sources=sources, model=model)
    summaries = rig.start(worker)
    wait_until(lambda: worker.summary().scored > 200)
    return worker, summaries


def by_canary(worker: Worker) -> float:
    """Frames that candidates have scored."""
    return sum(metric(worker, "canary_frames_total", result=each) for each in ("agree", "differ"))


def epochs(rig: Rig) -> dict[str, list[tuple[int, int]]]:
    """Of each stream, the epochs and versions that its rows name, as they change."""
    found: dict[str, list[tuple[int, int]]] = {name: [] for name in STREAMS}
    for row in rig.rows():
        now = (row["model"]["epoch"], row["model"]["version"])
        if found[row["stream"]][-1:] != [now]:
            found[row["stream"]].append(now)
    return found


def confidence(mean: float, bias: float) -> float:
    """Of the tiny network's last class, for a picture of this mean."""
    odds = [math.exp(k * (mean + bias)) for k in range(3)]
    return odds[2] / sum(odds)


def check_rows(rig: Rig, biases: Mapping[int, float]) -> None:
    """No frame is lost, doubled or rejected, each answer is that of the model which it names, and
    no stream's epoch falls. ``biases`` are the versions' own, by which they answer differently."""
    rows = rig.rows()
    digests = {version: rig.registry.manifest("tiny", version).sha256 for version in biases}
    for row in rows:
        assert row["outcome"] == "scored"
        model = row["model"]
        assert model["sha256"] == digests[model["version"]]
        its_own = [confidence(mean, biases[model["version"]]) for mean in MEANS]
        assert min(abs(each - row["confidence"]) for each in its_own) < 2e-3
    for name in STREAMS:
        of_stream = [row for row in rows if row["stream"] == name]
        assert [row["source"]["offset"] for row in of_stream] == list(range(len(of_stream)))
        numbers = [row["model"]["epoch"] for row in of_stream]
        assert numbers == sorted(numbers)


def test_some_streams_get_the_candidates_answers_and_a_worker_that_ends_loses_none(
    rig: Rig, is_bright: threading.Event
) -> None:
    worker, summaries = trying(rig, is_bright)
    publish_tiny(rig.registry, bias=0.5)
    wait_until(lambda: by_canary(worker) > 200)
    trial = worker.live.snapshot()["trial"]
    assert trial is not None
    assert (trial["version"], trial["rollout"]) == (2, "canary")
    assert trial["findings"].startswith("it named another class than the active model for 0 of")
    assert metric(worker, "trial_running", rollout="canary") == 1
    assert events(worker) == []
    worker.stop()
    summary = rig.finish(summaries)
    assert (summary.exit_code, summary.in_flight, summary.swaps) == (0, 0, 0)
    assert summary.received == summary.scored == len(rig.rows())
    check_rows(rig, {1: 0.0, 2: 0.5})
    found = list(epochs(rig).values())
    assert all(each in ([(1, 1)], [(1, 1), (2, 2)]) for each in found)
    assert [(1, 1)] in found
    assert [(1, 1), (2, 2)] in found
    assert worker.live.snapshot()["trial"] is None
    assert metric(worker, "trials_total", rollout="canary", verdict="none") == 1


def test_after_enough_frames_it_scores_all_streams(rig: Rig, is_bright: threading.Event) -> None:
    worker, summaries = trying(rig, is_bright, canary_frames=300)
    publish_tiny(rig.registry, bias=0.5)
    wait_until(lambda: events(worker) == [("swapped", 2)])
    assert "as a canary it named another class than the active model for 0 of 3" in detail(worker)
    so_far = worker.summary().scored
    wait_until(lambda: worker.summary().scored > so_far + 2000)
    worker.stop()
    rig.finish(summaries)
    check_rows(rig, {1: 0.0, 2: 0.5})
    assert all(each == [(1, 1), (2, 2)] for each in epochs(rig).values())
    assert by_canary(worker) >= 300
    for rollout in ("shadow", "canary"):
        assert metric(worker, "trials_total", rollout=rollout, verdict="good") == 1
        assert metric(worker, "trial_running", rollout=rollout) == 0


@pytest.mark.parametrize("way", [NO_NUMBERS, TOO_FEW, RAISES])
def test_outputs_that_are_none_end_it_and_no_frame_is_rejected_for_them(
    rig: Rig, is_bright: threading.Event, way: int
) -> None:
    worker, summaries = trying(rig, is_bright)
    rig.registry.publish(wrong_on_white(way, bias=0.5))
    wait_until(lambda: by_canary(worker) > 100)
    is_bright.set()  # it has never seen that, in the shadow neither
    wait_until(lambda: events(worker) == [("canary", 2)])
    assert "tiny@2 isn't fit as a canary: it gave" in detail(worker)
    so_far = worker.summary().scored
    wait_until(lambda: worker.summary().scored > so_far + 400)
    rig.registry.publish(wrong_on_white(way, bias=0.5))
    wait_until(lambda: events(worker)[1:] == [("quarantined", 3)])
    worker.stop()
    summary = rig.finish(summaries)
    assert summary.received == summary.scored == len(rig.rows())
    check_rows(rig, {1: 0.0, 2: 0.5})
    found = list(epochs(rig).values())
    assert all(each in ([(1, 1), (3, 1)], [(1, 1), (2, 2), (3, 1)]) for each in found)
    assert [(1, 1), (2, 2), (3, 1)] in found
    assert metric(worker, "trials_total", rollout="canary", verdict="bad") == 1
    assert metric(worker, "quarantined_models") == 1


def test_a_worker_that_starts_again_begins_with_the_version_below_a_refused_one(
    rig: Rig, is_bright: threading.Event
) -> None:
    worker, summaries = trying(rig, is_bright)
    rig.registry.publish(wrong_on_white(NO_NUMBERS, bias=0.5))
    wait_until(lambda: by_canary(worker) > 0)
    is_bright.set()
    wait_until(lambda: events(worker) == [("canary", 2)])
    worker.stop()
    rig.finish(summaries)
    again, summaries = trying(rig, is_bright)
    wait_until(lambda: events(again) == [("quarantined", 2)])
    assert "canary: tiny@2 isn't fit as a canary" in detail(again)
    assert again.model().version == 1
    again.stop()
    assert rig.finish(summaries).exit_code == 0
    (rig.folder / "state" / "tiny.quarantine").unlink()  # the operator lets it go
    is_bright.clear()
    last, summaries = trying(rig, is_bright)
    assert last.model().version == 2
    last.stop()
    rig.finish(summaries)


def test_an_alias_that_moves_on_ends_it_and_back_is_back(
    rig: Rig, is_bright: threading.Event
) -> None:
    worker, summaries = trying(rig, is_bright)
    publish_tiny(rig.registry, bias=0.5)
    wait_until(lambda: by_canary(worker) > 100)
    publish_tiny(rig.registry, bias=1.0)
    wait_until(lambda: (worker.live.snapshot()["trial"] or {}).get("version") == 3)
    so_far = by_canary(worker)
    wait_until(lambda: by_canary(worker) > so_far + 100)
    rig.registry.set_alias("tiny", "latest", 1)
    wait_until(lambda: worker.live.snapshot()["trial"] is None)
    so_far = worker.summary().scored
    wait_until(lambda: worker.summary().scored > so_far + 400)
    assert events(worker) == []
    worker.stop()
    rig.finish(summaries)
    check_rows(rig, {1: 0.0, 2: 0.5, 3: 1.0})
    versions = {tuple(version for _, version in each) for each in epochs(rig).values()}
    assert {each[-1] for each in versions} == {1}
    assert {2, 3} <= {version for each in versions for version in each}


class Failing:
    """Another engine, which raises once it is time. See ``Engine``."""

    def __init__(self, inner: Engine, is_time: threading.Event, error: Exception) -> None:
        self._inner = inner
        self._is_time = is_time
        self._error = error

    @property
    def device(self) -> str:
        return self._inner.device

    def warm(self, buckets: tuple[int, ...], sample_shape_hwc: tuple[int, int, int]) -> None:
        self._inner.warm(buckets, sample_shape_hwc)

    def score(self, batch_nhwc: BatchNhwc) -> LogitsNk:
        if self._is_time.is_set():
            raise self._error
        return self._inner.score(batch_nhwc)

    def close(self) -> None:
        self._inner.close()


def test_a_device_that_is_lost_to_it_ends_the_worker_for_its_supervisor(
    rig: Rig, is_bright: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_time = threading.Event()

    def load(model: bytes, device: str, _rest: object = None) -> Engine:
        return Failing(load_torchscript(model, device), is_time, RestartNeeded("the device failed"))

    worker, summaries = trying(rig, is_bright)
    monkeypatch.setattr(backends, "load_torchscript", load)
    publish_tiny(rig.registry, bias=0.5)
    wait_until(lambda: by_canary(worker) > 100)
    is_time.set()
    assert rig.finish(summaries).exit_code == EXIT_RESTART
    check_rows(rig, {1: 0.0, 2: 0.5})


def test_frames_do_not_wait_for_memory_for_it_and_it_may_come_again(
    rig: Rig, is_bright: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_time = threading.Event()

    def load(model: bytes, device: str, _rest: object = None) -> Engine:
        return Failing(load_torchscript(model, device), is_time, EngineOutOfMemory("no room"))

    worker, summaries = trying(rig, is_bright)
    monkeypatch.setattr(backends, "load_torchscript", load)
    monkeypatch.setattr(halving, "_ROOM_MAY_COME_S", (600.0,))
    publish_tiny(rig.registry, bias=0.5)
    wait_until(lambda: by_canary(worker) > 100)
    is_time.set()
    wait_until(lambda: events(worker) == [("no_room", 2)])
    assert metric(worker, "quarantined_models") == 0
    worker.stop()
    summary = rig.finish(summaries)
    assert summary.received == summary.scored == len(rig.rows())
    check_rows(rig, {1: 0.0, 2: 0.5})
