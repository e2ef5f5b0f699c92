"""The worker: the one file that wires the stages, in the order of a frame's path."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from pipeline.assembler import Assembler
from pipeline.batch import BatchPolicy
from pipeline.channel import Channel
from pipeline.clock import Clock, SystemClock
from pipeline.config import Settings
from pipeline.cores import default_decode_threads, usable_cores
from pipeline.credits import Credits
from pipeline.decode import DecodePool
from pipeline.engine.active import ActiveSlot
from pipeline.engine.device import allocate_batch
from pipeline.engine.slo import SloControl
from pipeline.engine.stage import EngineStage
from pipeline.errors import ConfigError, DeviceFull, RestartNeeded, StageFailed, StopRequested
from pipeline.intake import Intake, Quota
from pipeline.journal import Journal
from pipeline.kafka.access import KafkaAccess
from pipeline.lifecycle import Crew, stopping_on_signals
from pipeline.metrics import FrameCounts, Metrics
from pipeline.model_supply import ModelSupply
from pipeline.order import StreamOrder, partition_of, stream_of
from pipeline.preprocess import ImageLimits
from pipeline.sink.live import LiveView
from pipeline.sink.stage import SinkStage
from pipeline.sink.url import make_sinks
from pipeline.source.base import Source
from pipeline.source.kafka_url import make_seat, strict_options
from pipeline.source.url import Surroundings, make_sources
from pipeline.summary import Summary
from pipeline.types import ModelIdentity, Outcome
from pipeline.waiting import WaitingRoom
from pipeline.watchdog import CallWatch

log = logging.getLogger(__name__)

_LOOK_S = 0.25
_CLOSE_WITHIN_S = 10.0
"""A Kafka member commits and leaves its group in a few seconds."""


class Worker:
    """One process's pipeline: sources -> intake -> decode -> batch -> engine -> sink -> commit.

    Made, then ``run`` once. Owned by: the thread that calls ``run``; ``stop``, ``abandon`` and what
    the server reads may be called from any thread.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        sources: Sequence[Source] | None = None,
    ) -> None:
        """Makes all stages; connects nothing yet.

        Raises:
            ConfigError: a setting or URL is wrong.
        """
        self._settings = settings
        self._clock = clock or SystemClock()
        self.metrics = Metrics()
        self.live = LiveView(self._clock)
        limits = settings.intake
        kafka = KafkaAccess.of(settings.kafka)
        strict = strict_options(settings.sources, kafka)
        # A strict sink writes rows with their offsets, and so in their partitions' order.
        order = StreamOrder(partition_of if strict else stream_of)
        self._journal = Journal(Credits(limits.max_frames, limits.max_bytes), self._clock, order)
        seat = strict and make_seat(strict, self._journal.is_current, self.metrics)
        if sources is None:
            limit_s = settings.lifecycle.stall_timeout_s
            around = Surroundings(
                self._clock, self._journal, self.metrics, kafka, seat, stall_timeout_s=limit_s
            )
            sources = make_sources(settings.sources, around)
        if not sources:
            raise ConfigError("no source: give at least one --source URL")
        self._sources = sources
        self._sink, self._dead_letters = make_sinks(
            settings, self._clock, kafka, self.live, self.metrics, seat
        )
        self.metrics.watch_frames(self._journal.counts, self.readiness)
        self._waiting = WaitingRoom(limits.live_queue_frames)
        # Each list in it holds a frame that is in flight, so it never fills up: a dead sink can't
        # keep a camera from being drained. Sources that poll at the same moment see the same
        # credits, so all but one of them may overdraw by a poll.
        most_in_flight = limits.max_frames + (len(sources) - 1) * limits.poll_frames
        self._outcomes: Channel[list[Outcome]] = Channel("outcomes", most_in_flight)
        self._calls = CallWatch(self._clock)
        self._crew = Crew(self._on_failure)
        self._active: ActiveSlot | None = None
        self._supply: ModelSupply | None = None
        self._assembler: Assembler | None = None
        self._sink_stage: SinkStage | None = None
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._abandoned = threading.Event()
        self._durable = threading.Event()
        self._intakes: list[Intake] = []

    def run(self) -> Summary:
        """Runs until the sources end, ``max_frames`` came in or ``stop``; then drains.

        Signals are handled where this is the main thread. An error that ends the run early is in
        the summary; what could be drained was.

        Raises:
            ConfigError: a sink, the registry or the model can't be used at all.
            ArtifactRefused: the model isn't fit to score.
            RestartNeeded: the device was lost while the model was made ready.
        """
        with stopping_on_signals(self.stop, self.abandon):
            with ExitStack() as undo:
                undo.callback(self._sink.close)
                undo.callback(self._dead_letters.close)
                self._sink.open()
                self._dead_letters.open()
                undo.callback(self._give_up_start)
                try:
                    self._start()
                except StopRequested:
                    return self.summary()
                undo.pop_all()  # from here on the sink thread closes them
            while not (self._stop.is_set() or all(each.done.is_set() for each in self._intakes)):
                self._wake.wait(_LOOK_S)
            return self._drain()

    def stop(self) -> None:
        """Asks for a graceful end: no further frame comes in, those in flight are finished."""
        self._stop.set()
        self._wake.set()

    def abandon(self) -> None:
        """Ends without finishing what is in flight; it stays counted as in flight."""
        self._abandoned.set()
        self.stop()
        self._waiting.abandon()
        if self._assembler is not None:
            self._assembler.abandon()
        if self._sink_stage is not None:
            self._sink_stage.abandon()
        self._outcomes.abandon()

    def stuck(self) -> str | None:
        """None, or why nothing goes on in here any more. What a sink waits for is outside."""
        limit_s = self._settings.lifecycle.stall_timeout_s
        is_waiting = self._sink_stage is not None and self._sink_stage.is_waiting
        return self._journal.stall(limit_s, sink_waits=is_waiting) or self._calls.overdue(limit_s)

    def liveness(self) -> str | None:
        """None, or why the process should be started again."""
        return self.stuck() if self._crew.error is None else str(self._crew.error)

    def readiness(self) -> str | None:
        """None, or why no frame is taken now."""
        if self._stop.is_set():
            return "draining"
        return "the model is being loaded and warmed" if self._active is None else self.liveness()

    def counts(self) -> FrameCounts:
        """All frame counters of one moment."""
        return self._journal.counts()

    def model(self) -> ModelIdentity | None:
        """The model that scores now."""
        return None if self._active is None else self._active.model.identity

    def summary(self) -> Summary:
        """The counts so far."""
        return Summary.of(
            self._journal.counts(),
            swaps=0 if self._supply is None else self._supply.swaps,
            duration_s=self._journal.busy_s(),
            error=self._crew.error,
        )

    def _start(self) -> None:
        """Makes the model ready and starts all threads, the last stage first."""
        settings = self._settings
        supply = self._supply = ModelSupply(settings, self._clock, self._stop.is_set)
        active = supply.first()
        spec, sizes = active.model.contract.preprocess, tuple(active.model.infer_s)
        max_ages_s = [each.info.max_age_s for each in self._sources if each.info.max_age_s]
        # One batch is computed while the next one fills; a third one smooths a lossless stream,
        # and would only make live frames older.
        slots = 2 if max_ages_s else 3
        shape_nhwc = (sizes[-1], *spec.sample_shape_hwc)
        assembler = self._assembler = Assembler(
            [allocate_batch(shape_nhwc, supply.device) for _ in range(slots)],
            BatchPolicy(settings.batch.max_wait_s),
            self._clock,
            lambda: self._waiting.depth,
        )
        engine = EngineStage(active, assembler, self._outcomes, sizes, self.metrics, self._clock)
        engine.max_age_s = min(max_ages_s, default=None)
        if settings.batch.slo_s:
            engine.slo = SloControl(settings.batch.slo_s)
        engine.on_batch = self.live.note_batch
        limits = ImageLimits(settings.decode.max_image_bytes, settings.decode.max_image_pixels)
        pool = DecodePool(spec, limits, self._clock, self._waiting, assembler, self._outcomes)
        self._sink_stage = SinkStage(
            self._sink, self._dead_letters, self._outcomes, self._journal, self.metrics, self._clock
        )
        engine.calls = pool.calls = self._sink_stage.calls = self._calls
        self.metrics.watch_depths(
            waiting=lambda: self._waiting.depth,
            batches=lambda: assembler.depth,
            outcomes=lambda: self._outcomes.depth,
        )
        self._crew.start("sink", partial(self._sink_stage.run, settings.sink.retry_for_s))
        self._crew.start("engine", engine.run)
        threads = settings.decode.threads or default_decode_threads(usable_cores())
        self._crew.start("decode", partial(pool.run, threads, settings.decode.timeout_s))
        if supply.follow(active, engine, self.metrics, self.live):
            self._crew.start("swap", supply.run)
        while not engine.begun.wait(_LOOK_S):
            if self._stop.is_set():  # asked for, or the engine failed
                raise StopRequested("the worker is ending")
        self._active = active
        self._start_intakes()

    def _start_intakes(self) -> None:
        settings = self._settings
        quota = Quota(settings.lifecycle.max_frames)
        for number, source in enumerate(self._sources):
            intake = Intake(
                source, self._journal, self._waiting, self._outcomes, self.metrics, self._clock
            )
            intake.calls = self._calls
            self._intakes.append(intake)
            body = partial(
                intake.run, quota, settings.intake.poll_frames, self._stop, self._durable
            )
            self._crew.start("intake", body, number)

    def _drain(self) -> Summary:
        """Ends the stages in the order of the flow, under one deadline."""
        self._stop.set()
        limit_s = self._settings.lifecycle.drain_timeout_s
        log.info(
            "draining %d frames in flight within %g s; a second signal ends at once",
            *(self._journal.counts().in_flight, limit_s),
        )
        deadline = self._clock.monotonic() + limit_s
        on_time = all(
            each.done.wait(max(0.0, deadline - self._clock.monotonic())) for each in self._intakes
        )
        self._waiting.close()
        on_time &= self._crew.join("decode", deadline)
        if self._assembler is not None:
            self._assembler.close()
        on_time &= self._crew.join("engine", deadline)
        self._outcomes.close()
        on_time &= self._crew.join("sink", deadline)
        if not on_time:
            self.abandon()
            # A sink that was still trying says now why it couldn't: the better message.
            self._crew.join("sink", self._clock.monotonic() + 1.0)
            if self._crew.error is None:
                self._crew.error = StageFailed(
                    f"frames in flight didn't finish within {limit_s:g} s "
                    "(`lifecycle.drain_timeout_s`); they stay uncommitted"
                )
        left = self._journal.counts().in_flight
        if left and self._abandoned.is_set() and self._crew.error is None:
            self._crew.error = StageFailed(
                f"ended at once as asked; {left} frames in flight stay uncommitted"
            )
        self._close_sources()
        return self.summary()

    def _close_sources(self) -> None:
        """Nothing will become durable any more: the intakes commit, close and end."""
        self._durable.set()
        if self._supply is not None:
            self._supply.stop()
        closing_by = self._clock.monotonic() + _CLOSE_WITHIN_S
        self._crew.join("intake", closing_by)
        if self._crew.join("swap", closing_by) and self._supply is not None:
            self._supply.close()

    def _give_up_start(self) -> None:
        """Ends the threads that a failed start had made already (none, mostly)."""
        self.abandon()
        self._crew.join("sink", self._clock.monotonic() + _CLOSE_WITHIN_S)
        self._close_sources()

    def _on_failure(self, stage: str) -> None:
        """What failed can't be mended here: let what is behind it finish, and end."""
        error = self._crew.error
        if isinstance(error, RestartNeeded) and not isinstance(error, DeviceFull):
            self._journal.die()
        if stage in ("intake", "swap"):
            self.stop()
        elif stage == "sink":
            self.abandon()
        else:
            self.stop()
            self._waiting.abandon()
            if self._assembler is not None:
                self._assembler.abandon()
