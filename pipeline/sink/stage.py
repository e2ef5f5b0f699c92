"""The sink stage: writes outcomes in their streams' order, and finishes frames once durable."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Collection, Sequence

from pipeline.channel import Channel, ChannelClosed
from pipeline.clock import Clock
from pipeline.errors import SinkUnavailable, StageFailed
from pipeline.journal import Journal
from pipeline.metrics import Metrics
from pipeline.retry import Backoff
from pipeline.sink.base import Sink
from pipeline.types import Outcome, Position, Rejected, Scored
from pipeline.watchdog import CallWatch

log = logging.getLogger(__name__)

_AT_ONCE = 64
_SINK_PATIENCE = 2.0
"""Connecting to a Kafka cluster that hardly answers takes most of half a minute."""
_WAIT_S = 0.05
_LOOK_S = 0.005
"""So often is an asynchronous sink asked what is durable. Outcomes that come meanwhile don't wait
for that: a wait inside the sink held each one up until those before it were acknowledged."""


class SinkStage:
    """The last stage, and the place where the order of effects is kept:

        rejected bytes in the dead letters -> row acknowledged by the sink -> ledger finished

    and only what the ledger finished may a source commit. Owned by: the sink thread.
    """

    def __init__(
        self,
        sink: Sink,
        dead_letters: Sink,
        outcomes: Channel[list[Outcome]],
        journal: Journal,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._sink = sink
        self._dead_letters = dead_letters
        self._outcomes = outcomes
        self._journal = journal
        self._metrics = metrics
        self._clock = clock
        self._outstanding: dict[Position, Outcome] = {}
        self._losing_since_mono_s: float | None = None
        self._abandoned = threading.Event()
        self.calls = CallWatch(clock)
        self.is_waiting = False
        self._duration_s = metrics.stage_duration.series("sink").observe

    def run(self, retry_for_s: float) -> None:
        """Writes until the channel is closed and everything is durable.

        Raises:
            StageFailed: a sink failed for longer than ``retry_for_s``.
        """
        try:
            while True:
                try:
                    taken = self._outcomes.get_many(
                        _AT_ONCE, _LOOK_S if self._outstanding else _WAIT_S
                    )
                except TimeoutError:
                    taken = []
                except ChannelClosed:
                    break
                self._write([each for some in taken for each in some], retry_for_s)
            while self._outstanding and not self._abandoned.is_set():
                self._finish_durable(retry_for_s, _WAIT_S)
        finally:
            self._sink.close()
            self._dead_letters.close()

    def abandon(self) -> None:
        """Stops trying again. May be called from any thread."""
        self._abandoned.set()

    def _write(self, outcomes: Sequence[Outcome], retry_for_s: float) -> None:
        ready = self._journal.in_stream_order(outcomes)
        self.is_waiting = bool(ready or self._outstanding)
        if ready:
            started = self._clock.monotonic()
            rejected = [each for each in ready if isinstance(each, Rejected)]
            if rejected:
                self._write_dead_letters(rejected, retry_for_s)
            self._retrying(self._sink, lambda: self._sink.write(ready), retry_for_s)
            self._outstanding.update((each.frame.position, each) for each in ready)
            self._duration_s(self._clock.monotonic() - started)
        if self._outstanding:
            self._finish_durable(retry_for_s, 0.0)
        self.is_waiting = bool(self._outstanding)

    def _write_dead_letters(self, rejected: Sequence[Outcome], retry_for_s: float) -> None:
        """Returns when they are durable."""
        sink = self._dead_letters
        left = list(rejected)
        self._retrying(sink, lambda: sink.write(left), retry_for_s)
        while left:
            durable = self._collect(sink, left, retry_for_s, _WAIT_S)
            for each in durable:
                if isinstance(each, Rejected):
                    self._metrics.dead_letters.labels(each.reason).inc()
            left = [each for each in left if each not in durable]
            if left and self._abandoned.is_set():
                raise StageFailed(f"{sink.name}: abandoned with {len(left)} dead letters unwritten")

    def _finish_durable(self, retry_for_s: float, wait_s: float) -> None:
        durable = self._collect(self._sink, self._outstanding.values(), retry_for_s, wait_s)
        if not durable:
            return
        for each in durable:
            self._outstanding.pop(each.frame.position, None)
        self._journal.finish(durable)
        now = self._clock.monotonic()
        self._metrics.frame_latency.observe_many(
            [now - each.frame.received_mono_s for each in durable if isinstance(each, Scored)]
        )

    def _collect(
        self, sink: Sink, outstanding: Collection[Outcome], retry_for_s: float, wait_s: float
    ) -> Sequence[Outcome]:
        """What became durable; writes all that is outstanding again where the sink lost it."""
        try:
            with self.calls.call(f"{sink.name}: a collect", _SINK_PATIENCE):
                durable = sink.collect(wait_s)
            if durable:
                self._losing_since_mono_s = None
            return durable
        except SinkUnavailable as error:
            now = self._clock.monotonic()
            self._losing_since_mono_s = self._losing_since_mono_s or now
            if now - self._losing_since_mono_s > retry_for_s:
                raise StageFailed(
                    f"{sink.name} loses what is written to it: {error}; gave up after"
                    f" {retry_for_s:g} s (`sink.retry_for_s`)"
                ) from error
            log.warning("%s lost results (%s): writing them again", sink.name, error)
            self._metrics.sink_retries.inc()
            self._retrying(sink, lambda: sink.write(list(outstanding)), retry_for_s)
            return ()

    def _retrying(self, sink: Sink, write: Callable[[], None], retry_for_s: float) -> None:
        backoff = Backoff(first_s=0.1, most_s=2.0)
        began_mono_s = self._clock.monotonic()
        failures = 0
        while True:
            try:
                with self.calls.call(f"{sink.name}: a write", _SINK_PATIENCE):
                    return write()
            except SinkUnavailable as error:
                failures += 1
                self._metrics.sink_retries.inc()
                tried_s = self._clock.monotonic() - began_mono_s
                if self._abandoned.is_set() or tried_s >= retry_for_s:
                    why = "the worker ends" if tried_s < retry_for_s else "`sink.retry_for_s`"
                    raise StageFailed(
                        f"{sink.name} can't be written: {error}; gave up after {failures} tries "
                        f"in {tried_s:.0f} s ({why})"
                    ) from error
                if failures == 1:
                    log.warning("%s can't be written: %s; trying again", sink.name, error)
                self._abandoned.wait(backoff.wait_s(failures, random.Random()))
