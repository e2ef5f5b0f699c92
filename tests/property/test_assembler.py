from __future__ import annotations

import threading
import time

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pipeline.assembler import Assembler
from pipeline.batch import BatchLimits, BatchPolicy
from pipeline.channel import ChannelClosed
from pipeline.clock import ManualClock
from pipeline.sample import Batch, Row, Sample
from pipeline.types import Frame
from tests.frames import frame

SLOTS = 3
STUCK_S = 10.0
"""Liveness: nobody waits so long for a batch that is there."""


class AssemblerMachine(RuleBasedStateMachine):
    """Decode threads' calls in any order, and an engine thread that really waits."""

    @initialize(rows=st.integers(1, 3))
    def make(self, rows: int) -> None:
        self.clock = ManualClock()
        self.waiting = 0
        slots = [np.zeros((rows, 1, 1, 3), np.uint8) for _ in range(SLOTS)]
        self.assembler = Assembler(slots, BatchPolicy(0.5), self.clock, lambda: self.waiting)
        self.offset = 0
        self.decoding: list[tuple[Frame, Row]] = []
        self.hanging: list[tuple[Frame, Row]] = []
        self.decoded: list[int] = []
        self.held: Batch | None = None
        self.given: list[Batch] = []
        self.engine: threading.Thread | None = None

    def idle_slots(self) -> int:
        return SLOTS - self.assembler.depth - (self.held is not None)

    @precondition(lambda self: self.idle_slots() > 0)
    @rule(waiting=st.sampled_from((0, 0, 3)), is_live=st.booleans())
    def claim(self, waiting: int, is_live: bool) -> None:
        self.waiting = waiting
        of = frame(
            self.offset, max_age_s=1.0 if is_live else None, captured_at=self.clock.now() - 0.5
        )
        self.offset += 1
        row = self.assembler.claim(of)
        row.image_hwc[:] = of.position.offset % 255
        self.decoding.append((of, row))

    @precondition(lambda self: self.decoding)
    @rule(data=st.data())
    def complete(self, data: st.DataObject) -> None:
        of, row = self.decoding.pop(data.draw(st.integers(0, len(self.decoding) - 1)))
        self.decoded.append(of.position.offset)
        self.assembler.complete(row, Sample(of, row.row, 1, 1, 0.0, 0.0, self.clock.monotonic()))

    @precondition(lambda self: self.decoding)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        _of, row = self.decoding.pop(data.draw(st.integers(0, len(self.decoding) - 1)))
        self.assembler.release(row)

    @precondition(lambda self: self.decoding)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        which = data.draw(st.integers(0, len(self.decoding) - 1))
        if self.assembler.can_give_up(self.decoding[which][1]):
            self.hanging.append(self.decoding.pop(which))
            self.assembler.give_up(self.hanging[-1][1])

    @precondition(lambda self: self.hanging)
    @rule(data=st.data(), is_over=st.booleans())
    def what_hung_writes(self, data: st.DataObject, is_over: bool) -> None:
        which = data.draw(st.integers(0, len(self.hanging) - 1))
        _of, row = self.hanging[which]
        row.image_hwc[:] = 255
        if is_over:
            self.hanging.pop(which)
            self.assembler.take_back(row)

    @precondition(lambda self: self.held is None and self.engine is None)
    @rule()
    def the_engine_asks(self) -> None:
        self.engine = threading.Thread(target=self.wait_for_a_batch, daemon=True)
        self.engine.start()

    def wait_for_a_batch(self) -> None:
        try:
            self.given.append(self.assembler.next_batch())
        except ChannelClosed:
            return

    @precondition(lambda self: self.held is not None)
    @rule()
    def the_engine_is_done(self) -> None:
        assert self.held is not None
        self.pixels_are_those_of_its_frames(self.held)
        self.assembler.recycle(self.held, 0.01)
        self.held = None

    @rule(seconds=st.sampled_from((0.1, 0.6)))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(capacity=st.integers(1, 3), most_wait_s=st.sampled_from((0.0, 0.1, 9.0)))
    def limit(self, capacity: int, most_wait_s: float) -> None:
        self.assembler.limit(BatchLimits(capacity, most_wait_s))

    @invariant()
    def an_engine_that_waits_gets_what_is_decoded(self) -> None:
        if self.engine is None:
            return
        self.engine_has_looked()
        if self.decoded and not self.decoding and not self.waiting:
            self.engine.join(STUCK_S)
            assert self.given, "frames are decoded, none waits, and the engine got no batch"
        if self.given:
            self.engine.join(STUCK_S)
            self.engine, self.held = None, self.given.pop()
            self.pixels_are_those_of_its_frames(self.held)
            for sample in self.held.samples:
                self.decoded.remove(sample.frame.position.offset)
            in_batch = [sample.frame.position.offset for sample in self.held.samples]
            still_decoding = [of.position.offset for of, _row in self.decoding]
            assert max(in_batch) < min([*still_decoding, *self.decoded], default=self.offset)

    def engine_has_looked(self) -> None:
        """Lets a woken engine look before the next call comes: what it finds must not be chance."""
        assert self.engine is not None
        pause, end = threading.Event(), time.monotonic() + STUCK_S
        while self.engine.is_alive() and not self.assembler.engine_waits:
            assert time.monotonic() < end, "the engine neither waits nor has a batch"
            pause.wait(0.0005)

    def pixels_are_those_of_its_frames(self, batch: Batch) -> None:
        for sample in batch.samples:
            assert (batch.rows_nhwc[sample.row] == sample.frame.position.offset % 255).all()

    def teardown(self) -> None:
        self.assembler.abandon()
        if self.engine is not None:
            self.engine.join(STUCK_S)
            assert not self.engine.is_alive()


TestAssembler = AssemblerMachine.TestCase
TestAssembler.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
