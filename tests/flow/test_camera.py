"""A camera that dies and comes back, seen from the results."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.worker import Worker
from tests.flow.rig import Rig, balanced
from tests.rtsp import RtspCamera
from tests.support import wait_until

TIMEOUTS = "open_timeout=2s&read_timeout=1s&max_age=2s"


def source_is_up(worker: Worker) -> bool:
    found = [
        sample.value
        for family in worker.metrics.registry.collect()
        for sample in family.samples
        if sample.name == "headrace_source_up"
    ]
    return found == [1.0]


def scored(worker: Worker) -> int:
    return sum(worker.counts().scored.values())


@pytest.mark.camera
@pytest.mark.parametrize("outage", ["killed", "frozen"])
def test_a_camera_that_goes_away_is_found_and_scored_again(rig: Rig, outage: str) -> None:
    with RtspCamera() as camera:
        worker = rig.worker(f"{camera.url}?{TIMEOUTS}")
        summaries = rig.start(worker)
        wait_until(lambda: scored(worker) > 10, 30)
        assert source_is_up(worker)
        if outage == "killed":
            camera.kill()
        else:
            camera.freeze()
        wait_until(lambda: not source_is_up(worker), 20)
        seen = scored(worker)
        if outage == "killed":
            camera.start()
        else:
            camera.kill()
            camera.start()
        wait_until(lambda: scored(worker) > seen + 10, 60)
        assert source_is_up(worker)
        worker.stop()
        summary = rig.finish(summaries)
    rows = rig.rows()
    assert (summary.exit_code, summary.in_flight) == (0, 0)
    assert balanced(worker.counts())
    offsets = [row["source"]["offset"] for row in rows]
    assert offsets == sorted(set(offsets))
    for row in rows:
        if row["fresh"]:
            assert row["outcome"] == "scored"
            assert row["age_ms"] <= 2000
    reconnects = [
        sample.value
        for family in worker.metrics.registry.collect()
        for sample in family.samples
        if sample.name == "headrace_source_reconnects_total"
    ]
    assert sum(reconnects) >= 1


@pytest.mark.camera
def test_a_camera_that_is_away_at_the_start_is_waited_for(rig: Rig) -> None:
    camera = RtspCamera()
    camera.start()
    camera.kill()
    worker = rig.worker(f"{camera.url}?{TIMEOUTS}", lifecycle={"max_frames": 5})
    summaries = rig.start(worker)
    wait_until(lambda: worker.model() is not None)
    with camera:
        summary = rig.finish(summaries)
    assert summary.received == 5
    assert summary.exit_code == 0


@pytest.mark.camera
def test_a_camera_beside_a_clip_does_not_hold_it_up(rig: Rig, clips: Path) -> None:
    """A camera that never answers must not keep another source's frames from being scored."""
    worker = rig.worker(f"rtsp://127.0.0.1:9/none?{TIMEOUTS}", str(clips / "carphone_pristine.mp4"))
    summaries = rig.start(worker)
    wait_until(lambda: scored(worker) > 30)
    worker.stop()
    assert rig.finish(summaries).exit_code == 0
