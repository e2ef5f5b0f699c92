"""A worker sees that its frames aren't what its model was published with any more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.artifact.reference import Reference
from pipeline.config import ModelSettings
from pipeline.digits import Scene
from pipeline.preprocess import load_sample
from pipeline.statistics import InputTally, ScoreTally
from tests.artifacts import LABELS, SPEC, expected_logits, tiny_draft
from tests.flow.rig import Rig
from tests.support import wait_until

STREAMS = 8


def by_day() -> Reference:
    scenes = [Scene(number, width=160, height=96) for number in range(STREAMS)]
    rows_nhwc = np.stack([load_sample(scenes[k % STREAMS].jpeg(k * 9), SPEC) for k in range(400)])
    inputs, scores = InputTally(), ScoreTally(len(LABELS))
    inputs.add(rows_nhwc)
    scores.add(expected_logits(rows_nhwc))
    return Reference.of(inputs, scores)


def test_night_shows_in_metrics_and_on_the_page(rig: Rig) -> None:
    rig.registry.publish(replace(tiny_draft("digits"), reference=by_day()))
    model = ModelSettings(
        name="digits",
        registry=rig.registry.url,
        probe="never",
        drift_every_s=0.01,
        drift_frames=200,
    )
    url = f"synthetic:digits?streams={STREAMS}&width=160&height=96&fps=60&night=400"
    worker = rig.worker(url, model=model)
    summaries = rig.start(worker)

    def brightness() -> float:
        value = worker.metrics.registry.get_sample_value
        return value("headrace_drift_psi", {"statistic": "brightness"}) or 0.0

    wait_until(lambda: brightness() > 1.5, 60)
    drift = worker.live.snapshot()["drift"]
    assert drift is not None
    assert drift["frames"] == 200
    assert drift["moved"]["brightness"]["excess"] > 1
    worker.stop()
    summary = rig.finish(summaries)
    assert summary.received == summary.scored
    seen = {row["frame_id"] for row in rig.rows()}
    assert len(seen) == summary.scored
