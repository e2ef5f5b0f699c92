from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from pipeline.assembler import Assembler
from pipeline.batch import BatchLimits, BatchPolicy
from pipeline.channel import ChannelClosed
from pipeline.clock import Clock, ManualClock, SystemClock
from pipeline.sample import Batch, Row, Sample
from pipeline.types import Frame
from tests.frames import frame
from tests.support import wait_until


class Bench:
    """An assembler with a clock and a waiting room of the test's own."""

    def __init__(
        self,
        slots: int = 2,
        size: int = 4,
        max_wait_s: float = 10.0,
        clock: Clock | None = None,
    ) -> None:
        self.manual = ManualClock()
        self.clock = clock or self.manual
        self.waiting = 0
        rows = [np.zeros((size, 2, 2, 3), np.uint8) for _ in range(slots)]
        self.assembler = Assembler(rows, BatchPolicy(max_wait_s), self.clock, lambda: self.waiting)

    def decode(self, of: Frame) -> Row:
        row = self.assembler.claim(of)
        row.image_hwc[:] = of.position.offset
        self.assembler.complete(row, self.sample(of, row))
        return row

    def sample(self, of: Frame, row: Row) -> Sample:
        return Sample(of, row.row, 2, 2, 0.0, 0.0, self.clock.monotonic())


def offsets(batch: Batch) -> list[int]:
    return [sample.frame.position.offset for sample in batch.samples]


def test_samples_lie_in_the_rows_that_they_name() -> None:
    bench = Bench()
    for k in range(4):
        bench.decode(frame(k))
    batch = bench.assembler.next_batch()
    assert batch.closed_by == "full"
    for sample in batch.samples:
        assert (batch.rows_nhwc[sample.row] == sample.frame.position.offset).all()


def test_an_idle_engine_gets_what_there_is() -> None:
    bench = Bench()
    bench.decode(frame(0))
    batch = bench.assembler.next_batch()
    assert (batch.closed_by, batch.rows_used) == ("idle", 1)


def test_batches_fill_while_the_engine_is_busy() -> None:
    bench = Bench()
    bench.decode(frame(0))
    first = bench.assembler.next_batch()
    for k in range(1, 4):
        bench.decode(frame(k))
    bench.assembler.recycle(first, 0.01)
    assert offsets(bench.assembler.next_batch()) == [1, 2, 3]


def test_a_released_row_is_used_again_in_the_same_batch() -> None:
    bench = Bench(size=2)
    spoiled = bench.assembler.claim(frame(0))
    bench.assembler.release(spoiled)
    assert bench.decode(frame(1)).row == spoiled.row
    bench.decode(frame(2))
    assert offsets(bench.assembler.next_batch()) == [1, 2]


def test_a_batch_of_which_all_was_rejected_never_reaches_the_engine() -> None:
    bench = Bench(size=2, slots=1)
    rows = [bench.assembler.claim(frame(k)) for k in range(2)]
    for row in rows:
        bench.assembler.release(row)
    bench.decode(frame(2))
    assert offsets(bench.assembler.next_batch()) == [2]


def test_a_full_batch_that_is_rejected_whole_does_not_hold_up_the_next_one() -> None:
    bench = Bench(slots=2, size=2)
    rows = [bench.assembler.claim(frame(k)) for k in range(2)]
    bench.decode(frame(2))
    for row in rows:
        bench.assembler.release(row)
    got: list[Batch] = []
    engine = threading.Thread(target=lambda: got.append(bench.assembler.next_batch()), daemon=True)
    engine.start()
    wait_until(lambda: got, 10)
    assert offsets(got[0]) == [2]


def test_a_decode_thread_waits_for_a_free_batch() -> None:
    bench = Bench(slots=1, size=1)
    bench.decode(frame(0))
    second = threading.Thread(target=bench.decode, args=(frame(1),))
    second.start()
    batch = bench.assembler.next_batch()
    assert second.is_alive()
    bench.assembler.recycle(batch, 0.01)
    second.join(10)
    assert offsets(bench.assembler.next_batch()) == [1]


def test_a_full_batch_waits_for_its_last_row() -> None:
    bench = Bench(size=2)
    bench.decode(frame(0))
    late = bench.assembler.claim(frame(1))
    got: list[Batch] = []
    engine = threading.Thread(target=lambda: got.append(bench.assembler.next_batch()))
    engine.start()
    bench.decode(frame(2))  # goes to the next batch
    assert not got
    bench.assembler.complete(late, bench.sample(frame(1), late))
    engine.join(10)
    assert offsets(got[0]) == [0, 1]


def test_a_batch_does_not_wait_longer_than_it_may() -> None:
    bench = Bench(max_wait_s=0.5)
    bench.waiting = 1
    bench.decode(frame(0))
    got: list[Batch] = []
    engine = threading.Thread(target=lambda: got.append(bench.assembler.next_batch()))
    engine.start()
    bench.manual.advance(0.6)
    bench.decode(frame(1))
    engine.join(10)
    assert got[0].closed_by == "age"


def test_an_engine_that_waited_before_there_was_a_frame_notices_its_age() -> None:
    bench = Bench(max_wait_s=0.05, clock=SystemClock())
    bench.waiting = 1  # for ever: no other frame is decoded that would wake the engine
    got: list[Batch] = []
    engine = threading.Thread(target=lambda: got.append(bench.assembler.next_batch()), daemon=True)
    engine.start()
    wait_until(lambda: bench.assembler.engine_waits)
    bench.decode(frame(0))
    wait_until(lambda: got, 10)
    assert got[0].closed_by == "age"


def test_an_engine_that_waits_notices_a_more_urgent_frame() -> None:
    bench = Bench(max_wait_s=30, clock=SystemClock())
    bench.waiting = 1
    bench.decode(frame(0))
    got: list[Batch] = []
    engine = threading.Thread(target=lambda: got.append(bench.assembler.next_batch()), daemon=True)
    engine.start()
    wait_until(lambda: bench.assembler.engine_waits)
    bench.decode(frame(1, max_age_s=0.2, captured_at=bench.clock.now()))
    wait_until(lambda: got, 10)
    assert got[0].closed_by == "deadline"


def test_a_live_frame_closes_its_batch_before_its_deadline() -> None:
    bench = Bench(max_wait_s=100)
    bench.waiting = 1
    bench.decode(frame(0, max_age_s=1.0, captured_at=bench.clock.now()))
    bench.manual.advance(1.5)
    assert bench.assembler.next_batch().closed_by == "deadline"


def test_the_limit_of_a_batch_may_be_lowered() -> None:
    bench = Bench(size=4, slots=4)
    bench.assembler.limit(BatchLimits(2))
    for k in range(4):
        bench.decode(frame(k))
    assert offsets(bench.assembler.next_batch()) == [0, 1]
    assert offsets(bench.assembler.next_batch()) == [2, 3]


def test_the_wait_of_a_batch_may_be_shortened() -> None:
    bench = Bench(max_wait_s=100)
    bench.waiting = 1
    bench.assembler.limit(BatchLimits(4, most_wait_s=0.5))
    bench.decode(frame(0))
    bench.manual.advance(0.6)
    assert bench.assembler.next_batch().closed_by == "age"


def test_closing_gives_out_what_is_decoded_and_then_the_end() -> None:
    bench = Bench()
    bench.waiting = 1
    bench.decode(frame(0))
    bench.assembler.close()
    assert offsets(bench.assembler.next_batch()) == [0]
    with pytest.raises(ChannelClosed):
        bench.assembler.next_batch()


def test_abandoning_frees_all_who_wait() -> None:
    bench = Bench(slots=1, size=1)
    bench.decode(frame(0))
    bench.assembler.next_batch()
    ended: list[str] = []

    def wait_for(call: Callable[[], object], name: str) -> None:
        with pytest.raises(ChannelClosed):
            call()
        ended.append(name)

    threads = [
        threading.Thread(target=wait_for, args=(lambda: bench.decode(frame(1)), "decode")),
        threading.Thread(target=wait_for, args=(bench.assembler.next_batch, "engine")),
    ]
    for thread in threads:
        thread.start()
    bench.assembler.abandon()
    wait_until(lambda: len(ended) == 2)
    for thread in threads:
        thread.join(5)


def test_many_decode_threads_and_one_engine_lose_nothing() -> None:
    bench = Bench(slots=3, size=4)
    frames = [frame(k) for k in range(600)]
    lock = threading.Lock()
    scored: list[int] = []

    def decode() -> None:
        while True:
            with lock:
                if not frames:
                    return
                mine = frames.pop(0)
                bench.waiting = len(frames)
                row = bench.assembler.claim(mine)
            if mine.position.offset % 7 == 0:
                bench.assembler.release(row)
            else:
                bench.assembler.complete(row, bench.sample(mine, row))

    def score() -> None:
        while True:
            try:
                batch = bench.assembler.next_batch()
            except ChannelClosed:
                return
            scored.extend(offsets(batch))
            bench.assembler.recycle(batch, 0.0)

    engine = threading.Thread(target=score)
    decoders = [threading.Thread(target=decode) for _ in range(4)]
    for thread in [engine, *decoders]:
        thread.start()
    for thread in decoders:
        thread.join(30)
    bench.assembler.close()
    engine.join(30)
    assert sorted(scored) == [k for k in range(600) if k % 7]
