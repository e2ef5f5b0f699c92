"""How the engine's thread begins, on a device that needs it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pipeline.artifact.manifest import Contract
from pipeline.assembler import Assembler
from pipeline.batch import BatchPolicy
from pipeline.channel import Channel
from pipeline.clock import ManualClock, SystemClock
from pipeline.engine.active import ActiveModel, ActiveSlot
from pipeline.engine.base import EngineOutOfMemory
from pipeline.engine.drift_watch import DriftWatch
from pipeline.engine.slo import SloControl
from pipeline.engine.stage import EngineStage
from pipeline.metrics import Metrics
from pipeline.sample import Sample
from pipeline.types import BatchNhwc, LogitsNk, ModelIdentity, Outcome, Scored
from tests.artifacts import LABELS, SPEC
from tests.watched import frame

SIZES = (1, 2, 4)


@dataclass
class Elsewhere:
    """An engine that isn't on the CPU, with room for a few rows."""

    room: int = 4
    device: str = "cuda:0"
    warmed: list[int] = field(default_factory=list)

    def warm(self, buckets: tuple[int, ...], sample_shape_hwc: tuple[int, int, int]) -> None:
        assert sample_shape_hwc == SPEC.sample_shape_hwc
        for bucket in buckets:
            if bucket > self.room:
                raise EngineOutOfMemory(f"no room for a batch of {bucket}")
            self.warmed.append(bucket)

    def score(self, batch_nhwc: BatchNhwc) -> LogitsNk:
        return np.zeros((len(batch_nhwc), len(LABELS)), np.float32)

    def close(self) -> None:
        """Holds nothing."""


def begin(engine: Elsewhere) -> EngineStage:
    """A stage that has run without a batch."""
    identity = ModelIdentity("tiny", 1, "", 1)
    model = ActiveModel(identity, engine, Contract.of(LABELS, SPEC), dict.fromkeys(SIZES, 0.001))
    clock = SystemClock()
    slots = [np.zeros((4, *SPEC.sample_shape_hwc), np.uint8)]
    assembler = Assembler(slots, BatchPolicy(0.01), clock, lambda: 0)
    assembler.close()
    outcomes = Channel("outcomes", 4)
    stage = EngineStage(ActiveSlot(model), assembler, outcomes, SIZES, Metrics(), clock)
    stage.run()
    return stage


def test_what_a_look_at_drift_takes_is_no_time_of_the_network() -> None:
    engine, clock, metrics = Elsewhere(device="cpu"), ManualClock(), Metrics()
    identity = ModelIdentity("tiny", 1, "", 1)
    model = ActiveModel(identity, engine, Contract.of(LABELS, SPEC), dict.fromkeys(SIZES, 0.001))
    slots = [np.zeros((4, *SPEC.sample_shape_hwc), np.uint8)]
    assembler = Assembler(slots, BatchPolicy(0.01), clock, lambda: 0)
    outcomes: Channel[list[Outcome]] = Channel("outcomes", 4)
    stage = EngineStage(ActiveSlot(model), assembler, outcomes, SIZES, metrics, clock)
    stage.drift = DriftWatch(metrics, clock, every_s=1.0, window=100)
    stage.drift.on_state = lambda _: clock.advance(5.0)
    row = assembler.claim(frame())
    assembler.complete(row, Sample(frame(), row.row, 24, 24, 0.0, 0.0, clock.monotonic()))
    assembler.close()
    before = clock.monotonic()
    stage.run()
    assert clock.monotonic() == before + 5.0  # it had its look
    (scored,) = outcomes.get(0)
    assert isinstance(scored, Scored)
    assert scored.timings.infer_s == 0
    value = metrics.registry.get_sample_value
    assert value("headrace_stage_duration_seconds_sum", {"stage": "infer"}) == 0


def test_batches_are_smaller_once_a_goal_is_missed() -> None:
    clock, given = ManualClock(), 40 * 4
    slots = [np.zeros((4, *SPEC.sample_shape_hwc), np.uint8) for _ in range(8)]
    assembler = Assembler(slots, BatchPolicy(0.01), clock, lambda: 0)

    def give(count: int) -> None:
        for _ in range(count):
            row = assembler.claim(frame())
            assembler.complete(row, Sample(frame(), row.row, 24, 24, 0, 0, clock.monotonic()))

    @dataclass
    class Late(Elsewhere):
        """Takes longer than when it was measured; frames come while it does."""

        device: str = "cpu"
        sizes: list[int] = field(default_factory=list)

        def score(self, batch_nhwc: BatchNhwc) -> LogitsNk:
            self.sizes.append(len(batch_nhwc))
            if sum(self.sizes) < given:
                give(len(batch_nhwc))
            else:
                assembler.close()
            clock.advance(0.45)
            return super().score(batch_nhwc)

    engine = Late()
    identity = ModelIdentity("tiny", 1, "", 1)
    infer_s = {1: 0.15, 2: 0.16, 4: 0.2}
    model = ActiveModel(identity, engine, Contract.of(LABELS, SPEC), infer_s)
    outcomes: Channel[list[Outcome]] = Channel("outcomes", 1000)
    stage = EngineStage(ActiveSlot(model), assembler, outcomes, SIZES, Metrics(), clock)
    stage.slo = SloControl(0.4)
    give(4)
    stage.run()
    assert engine.sizes[:8] == [4] * 8  # less than a window
    assert engine.sizes[-1] < 4


def test_each_size_is_warmed_on_the_thread_that_will_run_it() -> None:
    engine = Elsewhere()
    assert begin(engine).begun.is_set()
    assert engine.warmed == list(SIZES)


def test_on_a_cpu_it_is_not_warmed_twice() -> None:
    engine = Elsewhere(device="cpu")
    assert begin(engine).begun.is_set()
    assert engine.warmed == []


def test_a_size_without_room_keeps_no_other_from_beginning() -> None:
    engine = Elsewhere(room=2)
    assert begin(engine).begun.is_set()
    assert engine.warmed == [1, 2]
