from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence

import pytest

from pipeline.channel import Channel
from pipeline.clock import SystemClock
from pipeline.credits import Credits
from pipeline.errors import SinkUnavailable, StageFailed
from pipeline.journal import Journal
from pipeline.metrics import Metrics
from pipeline.sink.base import Sink
from pipeline.sink.jsonl import NullSink
from pipeline.sink.stage import SinkStage
from pipeline.sink.tee import TeeSink
from pipeline.types import Outcome
from tests.frames import frame, rejected, scored
from tests.support import wait_until


class FlakySink(NullSink):
    """An in-memory sink that refuses, or loses, as often as told."""

    def __init__(self, refuse: int = 0, lose: int = 0, delay: int = 0) -> None:
        super().__init__()
        self.refuse, self.lose, self.delay = refuse, lose, delay
        self.rows: list[Outcome] = []

    def write(self, outcomes: Sequence[Outcome]) -> None:
        if self.refuse:
            self.refuse -= 1
            raise SinkUnavailable("not now")
        super().write(outcomes)

    def collect(self, timeout_s: float) -> Sequence[Outcome]:
        if self.lose:
            self.lose -= 1
            self._written = []
            raise SinkUnavailable("lost")
        if self.delay:
            self.delay -= 1
            return ()
        durable = super().collect(timeout_s)
        self.rows += durable
        return durable


class Bench:
    """A sink stage with a journal that expects ``count`` frames."""

    def __init__(self, sink: Sink, dead: Sink | None = None, count: int = 6) -> None:
        clock = SystemClock()
        self.journal = Journal(Credits(100, 10**6), clock)
        self.frames = [frame(k) for k in range(count)]
        self.journal.admit(self.frames)
        self.outcomes: Channel[list[Outcome]] = Channel("outcomes", 100)
        self.metrics = Metrics()
        self.stage = SinkStage(
            sink, dead or NullSink(), self.outcomes, self.journal, self.metrics, clock
        )

    def run(self, outcomes: list[Outcome], retry_for_s: float = 20.0) -> None:
        for outcome in outcomes:
            self.outcomes.put([outcome])
        self.outcomes.close()
        self.stage.run(retry_for_s)


def test_rows_are_written_in_order_and_frames_finished() -> None:
    sink = FlakySink()
    bench = Bench(sink)
    bench.run([scored(each) for each in reversed(bench.frames)])
    assert [each.frame.position.offset for each in sink.rows] == list(range(6))
    assert bench.journal.counts().in_flight == 0
    assert bench.journal.next_offsets() == {("cam", 0): 6}


def test_a_write_that_fails_is_made_again_and_nothing_is_doubled() -> None:
    sink = FlakySink(refuse=3)
    bench = Bench(sink)
    bench.run([scored(each) for each in bench.frames])
    assert [each.frame.position.offset for each in sink.rows] == list(range(6))
    assert bench.metrics.registry.get_sample_value("headrace_sink_retries_total") == 3


def test_what_a_sink_lost_is_written_again() -> None:
    sink = FlakySink(lose=1)
    bench = Bench(sink)
    bench.run([scored(each) for each in bench.frames])
    assert {each.frame.position.offset for each in sink.rows} == set(range(6))
    assert bench.journal.counts().in_flight == 0


def test_a_frame_is_finished_only_when_its_row_is_durable() -> None:
    sink = FlakySink(delay=5)
    bench = Bench(sink)
    bench.run([scored(each) for each in bench.frames])
    assert bench.journal.counts().in_flight == 0


class SlowToAcknowledge(NullSink):
    """It takes what is written at once; that it is durable it says when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = 0
        self.let = threading.Event()

    def write(self, outcomes: Sequence[Outcome]) -> None:
        super().write(outcomes)
        self.taken += len(outcomes)

    def collect(self, timeout_s: float) -> Sequence[Outcome]:
        return super().collect(0.0) if self.let.wait(1000 * timeout_s) else ()


def test_a_row_is_written_while_those_before_it_are_not_yet_durable() -> None:
    sink = SlowToAcknowledge()
    bench = Bench(sink, count=2)
    first, second = (scored(each) for each in bench.frames)
    stage = threading.Thread(target=bench.stage.run, args=(20.0,), daemon=True)
    stage.start()
    bench.outcomes.put([first])
    wait_until(lambda: sink.taken == 1)
    bench.outcomes.put([second])
    wait_until(lambda: sink.taken == 2)
    assert bench.journal.counts().in_flight == 2
    sink.let.set()
    bench.outcomes.close()
    stage.join()
    assert bench.journal.counts().in_flight == 0


def test_a_sink_that_stays_away_ends_the_stage_and_nothing_is_committed() -> None:
    bench = Bench(FlakySink(refuse=10**6))
    with pytest.raises(
        StageFailed, match=r"gave up after \d+ tries in \d+ s \(`sink.retry_for_s`\)"
    ):
        bench.run([scored(each) for each in bench.frames], retry_for_s=0.2)
    assert bench.journal.next_offsets() == {}
    assert bench.journal.counts().in_flight == 6


def test_who_ends_the_trying_is_named_and_how_long_it_took() -> None:
    bench = Bench(FlakySink(refuse=10**6))
    bench.stage.abandon()
    with pytest.raises(StageFailed, match=r"gave up after 1 tries in \d+ s \(the worker ends\)"):
        bench.run([scored(each) for each in bench.frames], retry_for_s=300)


def test_a_row_is_not_written_before_its_dead_letter_is_durable() -> None:
    sink = FlakySink()
    bench = Bench(sink, FlakySink(refuse=10**6))
    first, second = scored(bench.frames[0]), rejected(bench.frames[1])
    with pytest.raises(StageFailed):
        bench.run([first, second], retry_for_s=0.2)
    assert second not in sink.rows
    assert ("cam", 0) not in bench.journal.next_offsets() or bench.journal.next_offsets()[
        "cam", 0
    ] <= 1


def test_dead_letters_that_come_late_are_waited_for() -> None:
    dead = FlakySink(delay=3)
    sink = FlakySink()
    bench = Bench(sink, dead, count=1)
    bench.run([rejected(bench.frames[0])])
    assert len(dead.rows) == len(sink.rows) == 1


def test_abandoning_ends_the_tries() -> None:
    bench = Bench(FlakySink(refuse=10**6))
    threading.Timer(0.2, bench.stage.abandon).start()
    with pytest.raises(StageFailed):
        bench.run([scored(each) for each in bench.frames], retry_for_s=600)


@pytest.mark.parametrize("late", ["rows", "dead letters"])
def test_abandoning_ends_the_wait_for_a_sink_that_never_acknowledges(late: str) -> None:
    never = FlakySink(delay=10**9)
    bench = Bench(never, count=1) if late == "rows" else Bench(FlakySink(), never, count=1)
    bench.outcomes.put([rejected(bench.frames[0])])
    bench.outcomes.close()

    def run() -> None:
        with contextlib.suppress(StageFailed):
            bench.stage.run(600)

    stage = threading.Thread(target=run, daemon=True)
    stage.start()
    wait_until(lambda: not bench.outcomes.depth)
    assert stage.is_alive()
    bench.stage.abandon()
    stage.join(10)
    assert not stage.is_alive()
    assert bench.journal.counts().in_flight == 1


def test_a_tee_gives_the_rows_again_only_to_the_sink_that_refused() -> None:
    steady, flaky = FlakySink(), FlakySink(refuse=2)
    bench = Bench(TeeSink([steady, flaky]))
    bench.run([scored(each) for each in bench.frames])
    for sink in (steady, flaky):
        assert [each.frame.position.offset for each in sink.rows] == list(range(6))
