"""The engine stage: takes closed batches, runs the active model, gives outcomes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from pipeline.assembler import Assembler
from pipeline.batch import BatchLimits, bucket_for, live_capacity
from pipeline.channel import Channel, ChannelClosed
from pipeline.clock import Clock
from pipeline.engine.active import ActiveModel, ActiveSlot
from pipeline.engine.base import EngineFailed, EngineOutOfMemory
from pipeline.engine.canary import Canary, Turn, serve
from pipeline.engine.drift_watch import DriftWatch
from pipeline.engine.halving import refuse_at_once, score_halving
from pipeline.engine.health import OutputHealth
from pipeline.engine.pause import TurnTimes
from pipeline.engine.scoring import answers_of
from pipeline.engine.slo import SloControl
from pipeline.engine.trial import Trial
from pipeline.metrics import Metrics
from pipeline.sample import Batch, Sample
from pipeline.types import (
    BatchNhwc,
    LogitsNk,
    ModelIdentity,
    Outcome,
    Prediction,
    Rejected,
    Scored,
    Shed,
    Timings,
)
from pipeline.watchdog import CallWatch

log = logging.getLogger(__name__)


class _Answered(NamedTuple):
    """A batch's outcomes; and, where the active model gave answers, these for all rows and the
    samples that they are for."""

    outcomes: list[Outcome]
    fresh: Sequence[Sample] = ()
    logits_nk: LogitsNk | None = None


class EngineStage:
    """Scores one batch after the other. Owned by: the engine thread.

    ``sizes`` are the buckets that fit the assembler's slots; ``max_age_s`` is the tightest deadline
    of the live sources, or None; ``slo`` keeps a goal, if there is one. ``trial`` is that of a
    candidate, while there is one.
    """

    def __init__(
        self,
        active: ActiveSlot,
        assembler: Assembler,
        outcomes: Channel[list[Outcome]],
        sizes: tuple[int, ...],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._active = active
        self._assembler = assembler
        self._outcomes = outcomes
        self.sizes = sizes
        self._clock = clock
        self._metrics = metrics
        stages = metrics.stage_duration
        self._queue_s = stages.series("queue")
        self._decode_s = stages.series("decode")
        self._batch_s = stages.series("batch")
        self._infer_s = stages.series("infer")
        self.turns = TurnTimes()
        self.health = OutputHealth()
        self.calls = CallWatch(clock)
        self.trial: Trial | None = None
        self.drift: DriftWatch | None = None
        self.max_age_s: float | None = None
        self.slo: SloControl | None = None
        self.on_batch: Callable[[int], None] | None = None
        self._limited_for_epoch = 0
        self._most_frames = 0
        self.begun = threading.Event()

    def run(self) -> None:
        """Scores until the assembler is closed and empty. ``begun``: batches may come now."""
        self._begin()
        self.begun.set()
        while True:
            try:
                batch = self._assembler.next_batch()
            except ChannelClosed:
                return
            self._run(batch)

    def _begin(self) -> None:
        with self._active.for_batch() as (model, _):
            self._limit(model)
            if model.engine.device != "cpu":
                # cuDNN keeps how it computes a shape by thread, and another one warmed the model:
                # the first batch of each size would take 31 ms more (docs/measurements.md).
                self._warm(model)

    def _warm(self, model: ActiveModel) -> None:
        shape_hwc = model.contract.preprocess.sample_shape_hwc
        for size in model.infer_s:
            try:
                with self.calls.call("the network"):
                    model.engine.warm((size,), shape_hwc)
            except (EngineOutOfMemory, EngineFailed) as error:
                log.warning("batches of %d aren't warm on the engine's thread: %s", size, error)

    def _run(self, batch: Batch) -> None:
        """Holds the model for as long, and not while the next batch is awaited: it may be exchanged
        meanwhile."""
        with self._active.for_batch() as (model, canary):
            self._limit(model)
            started = self._clock.monotonic()
            with self.calls.call("the network"):
                answered = self._score(batch, model, canary, started)
            outcomes = answered.outcomes
            taken_s = self._clock.monotonic() - started
            # A batch that was shed whole says nothing of how long the network takes.
            ran = sum(not isinstance(each, Shed) for each in outcomes)
            if ran:
                bad = sum(isinstance(each, Rejected) for each in outcomes)
                self.turns.note(len(batch.samples), started, taken_s, model.identity.epoch)
                self.health.note(model.first_epoch, ran, bad)
                self._infer_s.observe(taken_s)
        if self.drift is not None and answered.logits_nk is not None:
            # After the time was taken, and before the rows belong to other frames.
            self.drift.offer(model, batch.rows_nhwc, answered.logits_nk, answered.fresh)
        self._observe(batch, outcomes, started)
        if self.slo is not None and answered.fresh:
            self._follow_slo(self.slo, batch, answered, started, taken_s)
        self._assembler.recycle(batch, taken_s if ran else None)
        self._outcomes.put(outcomes)

    def _limit(self, model: ActiveModel) -> None:
        """Has batches filled no further than suits the model."""
        if model.identity.epoch == self._limited_for_epoch:
            return
        self._limited_for_epoch = model.identity.epoch
        self._most_frames = model.most_frames
        if self.max_age_s is not None:
            self._most_frames = live_capacity(model.infer_s, self.max_age_s)
        if self.slo is not None:
            self.slo.use(model.infer_s)
        self._give_limits()

    def _give_limits(self) -> None:
        most = self._most_frames
        self._assembler.limit(BatchLimits(most) if self.slo is None else self.slo.limits(most))

    def _follow_slo(
        self, slo: SloControl, batch: Batch, answered: _Answered, started: float, taken_s: float
    ) -> None:
        bucket, scored_mono_s = bucket_for(batch.rows_used, self.sizes), started + taken_s
        queued_s = [each.queue_s for each in answered.fresh]
        times_s = [scored_mono_s - each.decoded_mono_s for each in answered.fresh]
        if slo.note(bucket, taken_s, queued_s, times_s, scored_mono_s):
            self._give_limits()

    def _score(
        self, batch: Batch, model: ActiveModel, canary: Canary | None, started: float
    ) -> _Answered:
        now = self._clock.now()
        fresh: list[Sample] = []
        outcomes: list[Outcome] = []
        for sample in batch.samples:
            if sample.frame.is_stale(now):
                outcomes.append(Shed(sample.frame.without_payload(), "deadline", now))
            else:
                fresh.append(sample)
        if not fresh:
            return _Answered(outcomes)
        rows = batch.rows_nhwc[: bucket_for(batch.rows_used, self.sizes)]
        classes = len(model.contract.labels)
        logits_nk = _score_by(model, rows)
        scored_at = self._clock.now()
        infer_s = self._clock.monotonic() - started
        if logits_nk.shape != (len(rows), classes):
            detail = f"the model gave {logits_nk.shape}, expected {(len(rows), classes)}"
            return _Answered(outcomes + [self._bad(each, detail, scored_at) for each in fresh])
        places = [sample.row for sample in fresh]
        if (trial := self.trial) is not None:
            trial.offer(rows, logits_nk, places, infer_s)
        answers_nk, task = logits_nk, model.contract.task
        logits_nk = logits_nk[places]  # a copy, in which a canary's stand in their places
        by = [model.identity] * len(fresh)
        if canary is not None:
            turn = Turn(rows, fresh, model, logits_nk, infer_s)
            by = serve(self._active, canary, turn, _score_canary_by)
            scored_at, infer_s = self._clock.now(), self._clock.monotonic() - started
        finite = set(np.flatnonzero(np.isfinite(logits_nk).all(axis=1)).tolist())
        with np.errstate(invalid="ignore"):
            answers = answers_of(task, logits_nk, model.contract.labels)
        for row, (sample, best) in enumerate(zip(fresh, answers.rankings, strict=True)):
            if row in finite:
                scored = _scored(sample, by[row], best, scored_at, (started, infer_s))
                if task != "single-label":
                    scored = replace(scored, task=task, values=answers.values[row])
                outcomes.append(scored)
            else:
                outcomes.append(
                    self._bad(sample, "the model gave NaN, infinity or an error", scored_at)
                )
        return _Answered(outcomes, fresh, answers_nk)

    def _bad(self, sample: Sample, detail: str, now: float) -> Rejected:
        return Rejected(sample.frame, "bad_output", detail, now)

    def _observe(self, batch: Batch, outcomes: list[Outcome], started: float) -> None:
        samples = batch.samples
        self._queue_s.observe_many([sample.queue_s for sample in samples])
        self._decode_s.observe_many([sample.decode_s for sample in samples])
        self._batch_s.observe_many([started - sample.decoded_mono_s for sample in samples])
        ages_s = [
            max(0.0, outcome.scored_at - outcome.frame.captured_at)
            for outcome in outcomes
            if isinstance(outcome, Scored)
        ]
        self._metrics.frame_age.observe_many(ages_s)
        self._metrics.batch_size.observe(len(batch.samples))
        self._metrics.batch_close.labels(batch.closed_by).inc()
        if self.on_batch is not None:
            self.on_batch(len(batch.samples))


def _scored(
    sample: Sample,
    model: ModelIdentity,
    best: Sequence[Prediction],
    scored_at: float,
    infer: tuple[float, float],
) -> Scored:
    started, infer_s = infer
    return Scored(
        frame=sample.frame,
        model=model,
        predictions=best,
        scored_at=scored_at,
        width=sample.width,
        height=sample.height,
        timings=Timings(
            queue_s=sample.queue_s,
            decode_s=sample.decode_s,
            batch_s=started - sample.decoded_mono_s,
            infer_s=infer_s,
        ),
    )


def _score_by(model: ActiveModel, rows_nhwc: BatchNhwc) -> LogitsNk:
    classes = len(model.contract.labels)
    return score_halving(model.engine, rows_nhwc, classes, model.most_frames)


def _score_canary_by(model: ActiveModel, rows_nhwc: BatchNhwc) -> LogitsNk:
    classes, most = len(model.contract.labels), model.most_frames
    return score_halving(model.engine, rows_nhwc, classes, most, refuse_at_once)
