"""A version that runs in the shadow of the active one before it takes its place."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.artifact.artifact import Draft
from pipeline.config import ModelSettings
from pipeline.engine import backends, loading
from pipeline.engine.base import Engine
from pipeline.types import BatchNhwc, LogitsNk
from pipeline.worker import Worker
from tests.artifacts import publish_tiny
from tests.flow.rig import Rig, detail, events, metric
from tests.networks import NanWeights, draft_of
from tests.support import noise_jpeg, wait_until


def shadowing(rig: Rig, **more: object) -> Worker:
    """A worker that scores already; or, with ``scored=False``, one that has started."""
    is_scoring = more.pop("scored", True)
    model = ModelSettings.model_validate(
        {
            "name": "tiny",
            "registry": rig.registry.url,
            "watch_interval_s": 0.02,
            "probe": "never",
            "rollout": "shadow",
            "max_disagreement": 0.2,
            **more,
        }
    )
    worker = rig.worker(sources=[rig.memory([noise_jpeg(320, 240)], 10**9)], model=model)
    rig.start(worker)
    wait_until(lambda: worker.summary().scored > 10 or not is_scoring)
    return worker


def compared(worker: Worker, result: str) -> float:
    return metric(worker, "shadow_frames_total", result=result)


def versions(rig: Rig) -> list[int]:
    return list(dict.fromkeys(row["model"]["version"] for row in rig.rows()))


def end(rig: Rig, worker: Worker) -> None:
    worker.stop()
    wait_until(lambda: not rig.threads[0].is_alive())


def test_a_version_that_agrees_takes_over_and_says_on_what_grounds(rig: Rig) -> None:
    worker = shadowing(rig)
    publish_tiny(rig.registry, bias=0.5)
    wait_until(lambda: events(worker) == [("swapped", 2)])
    assert "0 of " in detail(worker)
    assert compared(worker, "agree") >= 100
    assert compared(worker, "differ") == 0
    end(rig, worker)
    rows = rig.rows()
    assert versions(rig) == [1, 2]
    assert [row["source"]["offset"] for row in rows] == list(range(len(rows)))


def test_a_version_that_names_other_classes_never_scores(rig: Rig) -> None:
    worker = shadowing(rig)
    publish_tiny(rig.registry, bias=-2.0)
    wait_until(lambda: events(worker) == [("shadow", 2)])
    assert "isn't fit in the shadow: it named another class" in detail(worker)
    # Its content isn't tried again, whatever its number.
    publish_tiny(rig.registry, bias=-2.0)
    wait_until(lambda: events(worker) == [("shadow", 2), ("quarantined", 3)])
    end(rig, worker)
    assert versions(rig) == [1]
    assert compared(worker, "differ") > 0


class Dawdling:
    """Another engine, with a rest after each batch. See ``Engine``."""

    def __init__(self, inner: Engine) -> None:
        self._inner = inner

    @property
    def device(self) -> str:
        return self._inner.device

    def warm(self, buckets: tuple[int, ...], sample_shape_hwc: tuple[int, int, int]) -> None:
        self._inner.warm(buckets, sample_shape_hwc)

    def score(self, batch_nhwc: BatchNhwc) -> LogitsNk:
        logits_nk = self._inner.score(batch_nhwc)
        threading.Event().wait(0.2)
        return logits_nk

    def close(self) -> None:
        self._inner.close()


def test_a_version_that_is_only_slow_is_refused_and_may_come_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = shadowing(rig, shadow_share=1.0)
    load = backends.load_torchscript
    monkeypatch.setattr(
        backends, "load_torchscript", lambda model, device, _rest: Dawdling(load(model, device))
    )
    publish_tiny(rig.registry, bias=0.5)
    wait_until(lambda: events(worker) == [("too_slow", 2)])
    assert "it took more than 3 times as long" in detail(worker)
    value = worker.metrics.registry.get_sample_value
    assert value("headrace_quarantined_models") == 0
    end(rig, worker)
    assert versions(rig) == [1]


def test_a_newer_version_ends_the_trial_of_an_older_one(rig: Rig) -> None:
    worker = shadowing(rig, max_disagreement=0.99, shadow_frames=10**9, shadow_share=0.1)
    publish_tiny(rig.registry, bias=-2.0)  # differs from all: no verdict for a long time
    wait_until(lambda: compared(worker, "differ") > 0)
    publish_tiny(rig.registry, bias=0.5)
    wait_until(lambda: events(worker) == [("swapped", 3)])
    end(rig, worker)
    assert versions(rig) == [1, 3]


def test_back_to_an_older_version_needs_no_trial(rig: Rig) -> None:
    """The model that it is away from is no measure: it disagrees with every good one."""
    worker = shadowing(rig, rollout="shadow", max_disagreement=0.9, shadow_frames=100)
    publish_tiny(rig.registry, bias=0.5)
    wait_until(lambda: events(worker) == [("swapped", 2)])
    so_far = compared(worker, "agree") + compared(worker, "differ")
    rig.registry.set_alias("tiny", "latest", 1)
    wait_until(lambda: events(worker) == [("swapped", 2), ("swapped", 1)])
    rig.registry.publish(Draft.again(rig.registry.read("tiny", 2)))  # a copy is one as well
    wait_until(lambda: events(worker)[-1] == ("swapped", 3))
    assert compared(worker, "agree") + compared(worker, "differ") == so_far
    end(rig, worker)


def test_a_first_model_without_numbers_can_be_replaced(rig: Rig) -> None:
    """It follows none that it could be rolled back to, and no class of it can be compared."""
    bad = replace(draft_of(NanWeights()), name="bad")
    with pytest.MonkeyPatch.context() as patch:  # its own golden outputs are none either
        patch.setattr(loading, "check_golden", lambda *_: None)
        rig.registry.publish(bad)
        worker = shadowing(rig, name="bad", scored=False)
        wait_until(lambda: worker.summary().rejected > 10)
        publish_tiny(rig.registry, "bad", bias=0.5)
        wait_until(lambda: events(worker) == [("swapped", 2)])
    end(rig, worker)


def test_a_worker_ends_in_the_middle_of_a_trial(rig: Rig, tmp_path: Path) -> None:
    worker = shadowing(rig, max_disagreement=0.9, shadow_frames=10**9, shadow_share=0.01)
    publish_tiny(rig.registry, bias=-2.0)
    wait_until(lambda: compared(worker, "differ") > 0)
    end(rig, worker)
    assert events(worker) == []
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("bias", [0.5, -2.0])
def test_without_a_shadow_a_swap_is_at_once(rig: Rig, bias: float) -> None:
    worker = shadowing(rig, rollout="swap")
    publish_tiny(rig.registry, bias=bias)
    wait_until(lambda: events(worker) == [("swapped", 2)])
    assert compared(worker, "agree") == compared(worker, "differ") == 0
    end(rig, worker)
