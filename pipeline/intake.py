"""The intake: one thread a source. Takes frames while there are credits, and reconnects."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Sequence

from pipeline.channel import Channel, ChannelClosed
from pipeline.clock import Clock
from pipeline.errors import SourceExhausted, SourceUnavailable
from pipeline.journal import Journal
from pipeline.metrics import Metrics
from pipeline.retry import Backoff
from pipeline.source.base import Source
from pipeline.types import Frame, Outcome, Shed
from pipeline.waiting import WaitingRoom
from pipeline.watchdog import CallWatch

log = logging.getLogger(__name__)

_POLL_S = 0.2
"""Longest wait of one poll: bounds how late a stop, a commit or a returned credit is noticed."""
_TURN_S = 0.02
_COMMIT_EVERY_S = 0.1
"""What is durable and not committed comes twice after a kill; ten commits a second cost 1 %."""
_CLOSING_PATIENCE = 2.0
"""A Kafka member waits for its group, commits and leaves: most of half a minute at the worst."""
_STEADY_AFTER_S = 5.0
"""A connection that gives a frame and breaks again has not healed: the waits go on growing."""


class Quota:
    """How many frames may still come in, over all sources; unlimited for 0. Thread-safe."""

    def __init__(self, max_frames: int) -> None:
        self._lock = threading.Lock()
        self._left = max_frames if max_frames else None
        self._reserved = 0

    def reserve(self, wanted: int) -> int:
        """Takes up to ``wanted`` frames from what is left, until they are settled."""
        with self._lock:
            if self._left is None:
                return wanted
            granted = min(wanted, self._left)
            self._left -= granted
            self._reserved += granted
            return granted

    def settle(self, granted: int, used: int) -> None:
        """Says how many of the granted frames came in; the others may come in elsewhere."""
        with self._lock:
            if self._left is not None:
                self._reserved -= granted
                self._left += granted - used

    @property
    def is_used_up(self) -> bool:
        """Whether no frame may come in any more, not even what a poll elsewhere may leave."""
        with self._lock:
            return self._left == 0 and not self._reserved


class Intake:
    """Moves frames from one source into the waiting room. Owned by: its own thread.

    A lossless source is asked for no more frames than there are credits. A live one is always
    drained, as old frames would pile up inside it: newer frames supersede those that wait, and
    without a credit a frame is turned away. After its last frame the thread keeps the source alive
    (a Kafka group would throw it out) and commits until the worker says that all is durable.
    """

    def __init__(
        self,
        source: Source,
        journal: Journal,
        waiting: WaitingRoom,
        outcomes: Channel[list[Outcome]],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._source = source
        self._info = source.info
        self._journal = journal
        self._waiting = waiting
        self._outcomes = outcomes
        self._metrics = metrics
        self._clock = clock
        metrics.source_reconnects.labels(self._info.name)  # a first one is seen from a 0 on
        self._backoff = Backoff()
        self._next_commit_mono_s = 0.0
        self._failures = 0
        self._steady_from_mono_s = 0.0
        self._is_open = False
        self.calls = CallWatch(clock)
        self.done = threading.Event()

    def run(self, quota: Quota, poll_frames: int, stop: threading.Event, durable: threading.Event):
        """Takes frames until the source ends, the quota is used up or ``stop`` is set; then keeps
        the source until ``durable`` is set, commits and closes."""
        try:
            self._take_all(quota, poll_frames, stop)
            self.done.set()
            while not durable.wait(_POLL_S):
                self._keep_alive()
            self._next_commit_mono_s = 0.0
            self._keep_alive()
        finally:
            self.done.set()
            with self.calls.call(f"{self._info.name}: its closing", _CLOSING_PATIENCE):
                self._source.close()
            self._metrics.source_up.labels(self._info.name).set(0)

    def _take_all(self, quota: Quota, poll_frames: int, stop: threading.Event) -> None:
        while not stop.is_set() and not quota.is_used_up:
            try:
                if not self._is_open:
                    self._connect()
                self._take(quota, poll_frames)
                self._commit()
            except SourceExhausted:
                log.info("%s: no more frames", self._info.name)
                return
            except SourceUnavailable as error:
                self._disconnect(error, stop)
            except ChannelClosed:
                return

    def _take(self, quota: Quota, poll_frames: int) -> None:
        is_live = self._info.delivery == "live"
        room = poll_frames if is_live else self._journal.room(poll_frames, _POLL_S)
        granted = quota.reserve(room)
        if room and not granted:  # another source has what is left of the quota, for now
            self.done.wait(_TURN_S)
        frames: Sequence[Frame] = ()
        try:
            with self.calls.call(f"{self._info.name}: a poll"):
                frames = self._source.poll(granted, _POLL_S if granted else 0.0)
        finally:
            quota.settle(granted, len(frames))
        if not frames:
            return
        if self._clock.monotonic() >= self._steady_from_mono_s:
            self._failures = 0
        if is_live:
            frames = self._with_credit(frames)
        self._journal.admit(frames)
        now = self._clock.now()
        superseded = self._waiting.put(frames)
        if superseded:
            self._outcomes.put(
                [Shed(old.without_payload(), "superseded", now) for old in superseded]
            )

    def _with_credit(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        """The newest frames for which there are credits; the others are turned away."""
        room = self._journal.room(len(frames))
        for frame in frames[: len(frames) - room]:
            self._journal.turn_away(frame, "overload")
        return frames[len(frames) - room :]

    def _connect(self) -> None:
        with self.calls.call(f"{self._info.name}: its opening"):
            self._source.open()
        self._is_open = True
        self._steady_from_mono_s = self._clock.monotonic() + _STEADY_AFTER_S
        self._metrics.source_up.labels(self._info.name).set(1)
        if self._failures:
            self._metrics.source_reconnects.labels(self._info.name).inc()
            log.info("%s: connected again", self._info.name)

    def _disconnect(self, error: SourceUnavailable, stop: threading.Event) -> None:
        self._failures += 1
        wait_s = self._backoff.wait_s(self._failures, random.Random())
        log.warning("%s; trying again in %.1f s", error, wait_s)
        self._metrics.source_up.labels(self._info.name).set(0)
        self._source.close()
        self._is_open = False
        stop.wait(wait_s)

    def _keep_alive(self) -> None:
        """A poll without room, for sources that would lose their place otherwise, and a commit.

        A source that went away meanwhile gives its frames again when it is back: nothing is lost.
        """
        try:
            if self._is_open:
                with self.calls.call(f"{self._info.name}: a poll"):
                    self._source.poll(0, 0.0)
        except (SourceExhausted, SourceUnavailable):
            self._is_open = False
        try:
            self._commit()
        except SourceUnavailable as error:
            log.warning("%s: not committed: %s", self._info.name, error)

    def _commit(self) -> None:
        now = self._clock.monotonic()
        if now < self._next_commit_mono_s:
            return
        self._next_commit_mono_s = now + _COMMIT_EVERY_S
        if self._is_open:
            with self.calls.call(f"{self._info.name}: a commit"):
                self._source.commit(self._journal.next_offsets())
