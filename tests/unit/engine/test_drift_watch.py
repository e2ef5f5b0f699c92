"""Live frames beside what the model was published with: real digits, by day and at night."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from pipeline.artifact.manifest import Contract
from pipeline.artifact.reference import Reference
from pipeline.clock import ManualClock
from pipeline.digits import Night, Scene
from pipeline.drift import DriftState
from pipeline.engine.active import ActiveModel
from pipeline.engine.drift_watch import DriftWatch
from pipeline.metrics import Metrics
from pipeline.preprocess import load_sample
from pipeline.sample import Sample
from pipeline.statistics import InputTally, ScoreTally
from pipeline.types import BatchNhwc, ModelIdentity
from tests.artifacts import LABELS, SPEC, expected_logits
from tests.unit.engine.test_torchscript import SmallEngine
from tests.watched import frame

STREAMS = 10


def digits(first: int, frames: int, *, is_night: bool = False) -> BatchNhwc:
    """Frames of ten cameras in turn, each of another digit."""
    scenes = [Scene(number, width=160, height=90) for number in range(first, first + STREAMS)]
    for scene in scenes:
        scene.night = Night(-1000) if is_night else None
    return np.stack(
        [load_sample(scenes[k % STREAMS].jpeg(k // STREAMS * 46), SPEC) for k in range(frames)]
    )


@pytest.fixture(scope="module")
def day() -> BatchNhwc:
    return digits(500, 300)


@pytest.fixture(scope="module")
def reference(day: BatchNhwc) -> Reference:
    inputs, scores = InputTally(), ScoreTally(len(LABELS))
    inputs.add(day)
    scores.add(expected_logits(day))
    return Reference.of(inputs, scores)


class Watching:
    """A watch on a model with a reference, and the batches that it is offered."""

    def __init__(
        self, reference: Reference | None, window: int = 200, every_s: float = 2.0
    ) -> None:
        self.clock, self.metrics = ManualClock(), Metrics()
        self.told: list[DriftState] = []
        self.watch = DriftWatch(self.metrics, self.clock, every_s, window)
        self.watch.on_state = self.told.append
        identity = ModelIdentity("tiny", 1, "0" * 64, 1)
        contract = Contract.of(LABELS, SPEC)
        self.model = ActiveModel(identity, SmallEngine(8), contract, {8: 0.001})
        self.model = replace(self.model, reference=reference)
        self.numbers: Iterator[int] = count()

    def show(self, rows_nhwc: BatchNhwc, *, size: int = 2, apart_s: float = 0.5) -> None:
        """Ten cameras' frames in turn, so many in a batch, which are so many seconds apart."""
        for start in range(0, len(rows_nhwc), size):
            batch_nhwc = rows_nhwc[start : start + size]
            samples = [
                Sample(frame(stream=f"cam-{(start + row) % STREAMS}"), row, 64, 48, 0.0, 0.0, 0.0)
                for row in range(len(batch_nhwc))
            ]
            self.watch.offer(self.model, batch_nhwc, expected_logits(batch_nhwc), samples)
            self.clock.advance(apart_s)

    @property
    def state(self) -> DriftState:
        return self.told[-1]

    def gauge(self, statistic: str) -> float | None:
        return self.metrics.registry.get_sample_value(
            "headrace_drift_psi", {"statistic": statistic}
        )


def test_other_digits_by_day_are_no_drift_and_night_is(reference: Reference) -> None:
    watching = Watching(reference)
    watching.show(digits(700, 200))
    assert watching.state.frames == 200
    by_day = {name: each.excess for name, each in watching.state.moved.items()}
    assert set(by_day) == {"brightness", "contrast", "sharpness", "confidence", "labels"}
    assert max(by_day.values()) < 0.25
    watching.show(digits(700, 200, is_night=True))
    at_night = {name: each.excess for name, each in watching.state.moved.items()}
    assert min(at_night["brightness"], at_night["contrast"]) > 1
    assert watching.gauge("brightness") == at_night["brightness"]


def test_each_stream_gives_one_frame_in_so_many_seconds(
    reference: Reference, day: BatchNhwc
) -> None:
    watching = Watching(reference)
    watching.show(day[:200], apart_s=0.25)  # each camera every 1.25 s
    assert watching.state.frames == 100


def test_of_a_batch_two_frames_are_looked_at_and_the_others_stay_due(
    reference: Reference, day: BatchNhwc
) -> None:
    watching = Watching(reference)
    watching.show(day[:40], size=10, apart_s=0.25)
    assert watching.told == [DriftState(0, {})]
    watching.show(day[:80], size=10, apart_s=0.25)
    assert watching.state.frames == 10  # after 1.0 s all ten, and then none is due
    watching.show(day[:50], size=10, apart_s=0.25)
    assert watching.state.frames == 20


def test_who_waits_longest_is_looked_at_first(reference: Reference) -> None:
    """More are due than can be looked at; each camera is as bright as no other."""
    levels = (8 + 24 * np.arange(STREAMS)).astype(np.uint8).reshape(-1, 1, 1, 1)
    rows_nhwc = np.broadcast_to(levels, (STREAMS, *SPEC.sample_shape_hwc)).copy()
    watching = Watching(reference, every_s=0.5, window=100)
    for _ in range(60):
        watching.show(rows_nhwc, size=10, apart_s=0.25)
    shares = watching.state.moved["brightness"].live_shares
    assert sorted(shares)[-STREAMS:] == [0.1] * STREAMS


def test_it_compares_once_a_second_at_most(reference: Reference, day: BatchNhwc) -> None:
    watching = Watching(reference, every_s=0.0625)
    watching.show(day[:260], size=10, apart_s=0.125)  # 26 batches in 3.25 s, two frames of each
    assert [each.frames for each in watching.told] == [0, 10, 26, 42]


def test_with_few_frames_nothing_is_said(reference: Reference, day: BatchNhwc) -> None:
    watching = Watching(reference)
    watching.show(day[:90])
    assert (watching.state.frames, watching.state.moved) == (90, {})
    assert watching.gauge("brightness") is None
    watching.show(day[90:110])
    assert watching.gauge("brightness") is not None


def test_another_model_begins_anew(reference: Reference, day: BatchNhwc) -> None:
    watching = Watching(reference)
    watching.show(day[:150])
    assert watching.gauge("brightness") is not None
    watching.model = watching.model.under(7)  # the same one, back from a canary's rollback
    watching.show(day[150:160])
    assert watching.state.frames == 160
    identity = ModelIdentity("tiny", 2, "1" * 64, 8)
    watching.model = replace(watching.model, identity=identity, took_over_as=0)
    watching.show(day[:10])
    assert watching.told[-2:] == [DriftState(0, {}), DriftState(10, {})]
    assert watching.gauge("brightness") is None


def test_a_model_without_a_reference_is_not_watched(day: BatchNhwc) -> None:
    watching = Watching(None)
    watching.show(day[:150])
    assert [each.frames for each in watching.told] == [0]


def test_of_a_model_that_names_no_class_inputs_alone_are_compared(
    reference: Reference, day: BatchNhwc
) -> None:
    watching = Watching(reference.model_copy(update={"scores": None}))
    watching.show(day[:150])
    assert set(watching.state.moved) == {"brightness", "contrast", "sharpness"}


def test_a_reference_that_cannot_be_compared_is_let_go_and_said_once(
    reference: Reference, day: BatchNhwc, caplog: pytest.LogCaptureFixture
) -> None:
    inputs = reference.inputs
    counts = (10**400, *inputs.contrast.counts[1:])  # which no manifest may have
    bad = inputs.model_copy(
        update={"contrast": inputs.contrast.model_copy(update={"counts": counts})}
    )
    watching = Watching(reference)
    watching.show(day[:150])
    identity = ModelIdentity("tiny", 2, "1" * 64, 2)
    good = watching.model
    watching.model = replace(
        good, identity=identity, reference=reference.model_copy(update={"inputs": bad})
    )
    watching.show(day)
    said = [record for record in caplog.records if "tiny@2" in record.getMessage()]
    assert len(said) == 1
    assert "OverflowError" in said[0].getMessage()
    assert watching.state == DriftState(0, {})
    assert watching.gauge("brightness") is None
    watching.model = replace(good, identity=ModelIdentity("tiny", 3, "2" * 64, 3))
    watching.show(day[:150])
    assert watching.gauge("brightness") is not None


def test_answers_without_numbers_are_left_out(reference: Reference, day: BatchNhwc) -> None:
    watching = Watching(reference, window=400)
    rows_nhwc = day[:STREAMS]
    logits_nk = expected_logits(rows_nhwc)
    logits_nk[::2] = np.nan
    for _ in range(200):
        samples = [
            Sample(frame(stream=f"cam-{row}"), row, 64, 48, 0.0, 0.0, 0.0) for row in range(STREAMS)
        ]
        watching.watch.offer(watching.model, rows_nhwc, logits_nk, samples)
        watching.clock.advance(0.5)
    assert sum(watching.state.moved["labels"].live_shares) == pytest.approx(1)
    assert sum(watching.state.moved["confidence"].live_shares) == pytest.approx(1)
