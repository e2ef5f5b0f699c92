"""A camera that dies and comes back, seen from the results."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from pipeline.worker import Worker
from tests.artifacts import publish_slow
from tests.flow.rig import Rig, balanced
from tests.rtsp import RtspCamera
from tests.support import wait_until

TIMEOUTS = "open_timeout=2s&read_timeout=1s&max_age=2s"
FOUND_WITHIN_S = 4.0
"""The read time-out, and what a busy machine may take to say so."""


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
        wait_until(lambda: not source_is_up(worker), FOUND_WITHIN_S)
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
def test_of_a_camera_that_is_too_fast_the_newest_frames_are_scored(rig: Rig) -> None:
    publish_slow(rig.registry)
    rig.model = "slow"
    with RtspCamera(fps=30) as camera:
        worker = rig.worker(f"{camera.url}?max_age=1s")
        summaries = rig.start(worker)
        wait_until(lambda: scored(worker) > 20, 60)
        worker.stop()
        summary = rig.finish(summaries)
    rows = rig.rows()
    assert (summary.exit_code, summary.in_flight) == (0, 0)
    assert balanced(worker.counts())
    by_outcome = Counter(row["outcome"] for row in rows)
    assert (by_outcome["scored"], by_outcome["shed"]) == (summary.scored, summary.shed)
    assert by_outcome["shed"] > by_outcome["scored"]
    reasons = Counter(row["reason"] for row in rows if row["outcome"] == "shed")
    assert reasons["superseded"] > 0
    counted = {reason: count for (_, reason), count in worker.counts().shed.items()}
    assert counted == reasons
    assert [row["source"]["offset"] for row in rows] == list(range(summary.received))
    for row in rows:
        if row["outcome"] == "scored" and row["fresh"]:
            assert row["age_ms"] <= 1000


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
