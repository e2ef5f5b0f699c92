from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from pipeline.assembler import Assembler
from pipeline.batch import BatchPolicy
from pipeline.channel import Channel
from pipeline.clock import SystemClock
from pipeline.decode import DecodePool
from pipeline.preprocess import ImageLimits
from pipeline.sample import Batch, Row
from pipeline.types import Frame, Outcome, Rejected
from pipeline.waiting import WaitingRoom
from tests.artifacts import SPEC
from tests.frames import frame
from tests.pictures import hanging
from tests.support import noise_jpeg, wait_until

TIMEOUT_S = 0.6


class Bench:
    """A decode pool with what is before and behind it."""

    def __init__(self, size: int = 4) -> None:
        clock = SystemClock()
        self.waiting = WaitingRoom(2)
        slots = [np.zeros((size, *SPEC.sample_shape_hwc), np.uint8) for _ in range(2)]
        self.assembler = Assembler(slots, BatchPolicy(5.0), clock, lambda: self.waiting.depth)
        self.outcomes: Channel[list[Outcome]] = Channel("outcomes", 100)
        limits = ImageLimits(1 << 20, 1 << 20)
        self.pool = DecodePool(SPEC, limits, clock, self.waiting, self.assembler, self.outcomes)
        self.let_go = threading.Event()
        self.runner = threading.Thread(target=self.pool.run, args=(2, TIMEOUT_S), name="pool")
        self.runner.start()

    def frame(self, offset: int, hangs: int = 0) -> Frame:
        """One that hangs so often, or none."""
        payload = hanging(self.let_go, hangs) if hangs else noise_jpeg()
        return frame(offset, payload=payload)  # type: ignore[arg-type]

    def batches(self, frames: int) -> list[Batch]:
        """Batches until so many frames were in them."""
        got: list[Batch] = []
        while sum(len(each.samples) for each in got) < frames:
            got.append(self.assembler.next_batch())
            if len(got) > 1:
                self.assembler.recycle(got[-2], 0.01)
        return got

    def end(self) -> None:
        self.let_go.set()
        self.waiting.close()
        self.runner.join(20)
        assert not self.runner.is_alive()
        wait_until(lambda: not any(t.name.startswith("decode-") for t in threading.enumerate()))


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.end()


def offsets(batches: list[Batch]) -> list[int]:
    return [sample.frame.position.offset for each in batches for sample in each.samples]


def test_a_frame_whose_decoding_hangs_once_is_decoded_by_the_second_try(bench: Bench) -> None:
    bench.waiting.put([bench.frame(0, hangs=1), bench.frame(1), bench.frame(2)])
    assert sorted(offsets(bench.batches(3))) == [0, 1, 2]
    assert bench.outcomes.depth == 0


def test_a_frame_whose_decoding_always_hangs_is_rejected_and_the_others_go_on(bench: Bench) -> None:
    poisoned = bench.frame(0, hangs=9)
    bench.waiting.put([poisoned, *(bench.frame(k) for k in range(1, 9))])
    assert sorted(offsets(bench.batches(8))) == list(range(1, 9))
    (outcome,) = bench.outcomes.get(10)
    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.frame.payload is poisoned.payload) == ("unfinished", True)
    assert bench.pool.calls.overdue(0.0) is None  # nobody waits for the calls that hang


def test_what_a_hung_call_writes_in_the_end_spoils_no_other_frame(bench: Bench) -> None:
    bench.waiting.put([bench.frame(0, hangs=9)])
    bench.outcomes.get(10)
    held: list[Batch] = []
    for number in range(2):  # all the rows that there are
        bench.waiting.put([bench.frame(10 * number + k) for k in range(1, 5)])
        held.append(bench.assembler.next_batch())
    before = [batch.rows_nhwc[sample.row].copy() for batch in held for sample in batch.samples]
    assert len(before) < 8
    bench.let_go.set()
    wait_until(lambda: sum(bool((row == 255).all()) for each in held for row in each.rows_nhwc) > 1)
    after = [batch.rows_nhwc[sample.row] for batch in held for sample in batch.samples]
    assert all((one == other).all() for one, other in zip(before, after, strict=True))
    for batch in held:
        bench.assembler.recycle(batch, 0.01)
    wait_until(lambda: bench.assembler.can_give_up(Row(0, 0, before[0])))
    assert bench.outcomes.depth == 0  # a late end is no outcome


def test_what_would_take_too_many_rows_is_left_to_the_watchdog() -> None:
    bench = Bench(size=1)
    bench.waiting.put([bench.frame(0, hangs=1)])
    wait_until(lambda: bench.pool.calls.overdue(2 * TIMEOUT_S))
    assert bench.outcomes.depth == 0
    bench.end()


def test_an_error_in_a_thread_ends_the_pool() -> None:
    bench = Bench()
    bench.end()
    again = WaitingRoom(2)
    again.put([frame(0, payload=object())])  # type: ignore[arg-type]
    pool = DecodePool(
        SPEC, ImageLimits(1, 1), SystemClock(), again, bench.assembler, bench.outcomes
    )
    with pytest.raises(AttributeError):
        pool.run(1, TIMEOUT_S)
