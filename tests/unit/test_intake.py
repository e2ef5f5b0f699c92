from __future__ import annotations

import random
import threading
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.channel import Channel
from pipeline.clock import SystemClock
from pipeline.credits import Credits
from pipeline.errors import SourceExhausted, SourceUnavailable
from pipeline.intake import Intake, Quota
from pipeline.journal import Journal
from pipeline.metrics import Metrics
from pipeline.retry import Backoff
from pipeline.source.base import SourceInfo
from pipeline.types import Frame, Outcome, Shed
from pipeline.waiting import WaitingRoom
from tests.frames import frame, scored
from tests.support import wait_until

MOST = 10**9


class ScriptedSource:
    """A source that follows a list: a number of frames, or an error."""

    def __init__(
        self, script: Sequence[int | Exception], *, max_age_s: float | None = None
    ) -> None:
        self.script = list(script)
        self.max_age_s = max_age_s
        self.next = 0
        self.opened = self.closed = 0
        self.rooms: list[int] = []
        self.commits: list[dict[tuple[str, int], int]] = []

    @property
    def info(self) -> SourceInfo:
        delivery = "lossless" if self.max_age_s is None else "live"
        return SourceInfo("cam", delivery, is_finite=True, max_age_s=self.max_age_s)

    def open(self) -> None:
        self.opened += 1

    def poll(self, room: int, timeout_s: float) -> Sequence[Frame]:
        self.rooms.append(room)
        if not room:
            return ()
        if not self.script:
            raise SourceExhausted("the end")
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        count = min(room, step)
        if count < step:
            self.script.insert(0, step - count)
        self.next += count
        return [frame(k, max_age_s=self.max_age_s) for k in range(self.next - count, self.next)]

    def commit(self, next_offsets: Mapping[tuple[str, int], int]) -> None:
        self.commits.append(dict(next_offsets))

    def close(self) -> None:
        self.closed += 1


class Bench:
    """An intake with everything around it."""

    def __init__(self, source: ScriptedSource, max_frames: int = 100, live_queue: int = 2) -> None:
        clock = SystemClock()
        self.source = source
        self.journal = Journal(Credits(max_frames, MOST), clock)
        self.waiting = WaitingRoom(live_queue)
        self.outcomes: Channel[list[Outcome]] = Channel("outcomes", 1000)
        self.metrics = Metrics()
        self.intake = Intake(source, self.journal, self.waiting, self.outcomes, self.metrics, clock)
        self.stop, self.durable = threading.Event(), threading.Event()
        self.thread = threading.Thread(
            target=self.intake.run, args=(Quota(0), 10, self.stop, self.durable)
        )

    def run(self) -> None:
        self.thread.start()
        wait_until(self.intake.done.is_set)

    def end(self) -> None:
        self.stop.set()
        self.durable.set()
        self.thread.join(20)
        assert not self.thread.is_alive()

    def value(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, {"source": "cam"})


def test_all_frames_of_a_finite_source_come_in() -> None:
    bench = Bench(ScriptedSource([3, 0, 25]))
    bench.run()
    assert bench.waiting.depth == 28
    assert bench.journal.counts().in_flight == 28
    bench.end()
    assert bench.source.closed == 1


def test_a_source_is_asked_for_no_more_than_there_are_credits() -> None:
    bench = Bench(ScriptedSource([50]), max_frames=12)
    bench.thread.start()
    wait_until(lambda: bench.waiting.depth == 12)
    wait_until(lambda: bench.source.rooms[-1] == 0)
    assert bench.journal.counts().in_flight == 12
    bench.journal.finish([scored(frame(k)) for k in range(5)])
    wait_until(lambda: bench.waiting.depth == 17)
    bench.end()


def test_a_connection_that_breaks_is_made_again_and_counted() -> None:
    bench = Bench(ScriptedSource([2, SourceUnavailable("gone"), SourceUnavailable("still"), 3]))
    assert bench.value("headrace_source_reconnects_total") == 0  # `increase` sees the first one
    bench.run()
    assert bench.waiting.depth == 5
    assert bench.source.opened == 3
    assert bench.value("headrace_source_reconnects_total") == 2
    bench.end()
    assert bench.value("headrace_source_up") == 0


def test_a_connection_that_breaks_after_each_frame_is_made_more_and_more_seldom(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench(ScriptedSource([1, SourceUnavailable("gone")] * 4))
    bench.run()
    bench.end()
    waits_s = [record.args[1] for record in caplog.records if "trying again" in record.msg]
    assert len(waits_s) == 4
    assert waits_s[3] > 2 * waits_s[0]


def test_a_stop_does_not_wait_for_the_backoff() -> None:
    bench = Bench(ScriptedSource([SourceUnavailable("gone")] * 50))
    bench.thread.start()
    wait_until(lambda: bench.source.opened >= 3)
    bench.end()


def test_newer_live_frames_supersede_those_that_wait() -> None:
    bench = Bench(ScriptedSource([1] * 6, max_age_s=1.0), live_queue=2)
    bench.run()
    assert bench.waiting.depth == 2
    shed = [each for some in bench.outcomes.get_many(100) for each in some]
    assert [each.frame.position.offset for each in shed] == [0, 1, 2, 3]
    assert all(isinstance(each, Shed) and each.reason == "superseded" for each in shed)
    assert all(each.frame.payload == b"" for each in shed)
    bench.end()


def test_a_live_source_is_drained_even_without_credits() -> None:
    bench = Bench(ScriptedSource([1] * 9, max_age_s=1.0), max_frames=4)
    bench.run()
    counts = bench.journal.counts()
    assert counts.received == {"cam": 9}
    assert counts.shed == {("cam", "overload"): 5}
    assert counts.in_flight == 4
    bench.end()


def test_what_is_durable_is_committed_at_the_latest_when_all_is() -> None:
    bench = Bench(ScriptedSource([4]))
    bench.run()
    bench.journal.finish([scored(frame(k)) for k in (0, 1, 3)])
    wait_until(lambda: bench.source.commits and bench.source.commits[-1] == {("cam", 0): 2})
    bench.journal.finish([scored(frame(2))])
    bench.end()
    assert bench.source.commits[-1] == {("cam", 0): 4}


def test_the_source_is_kept_alive_while_its_frames_are_in_flight() -> None:
    bench = Bench(ScriptedSource([4]))
    bench.run()
    wait_until(lambda: 0 in bench.source.rooms)
    assert bench.source.closed == 0
    bench.end()


def test_a_quota_is_shared_and_gives_back_what_was_not_used() -> None:
    quota = Quota(10)
    assert quota.reserve(8) == 8
    assert quota.reserve(8) == 2
    assert not quota.is_used_up
    quota.settle(8, used=3)
    assert quota.reserve(8) == 5
    quota.settle(5, used=5)
    quota.settle(2, used=2)
    assert quota.is_used_up
    assert Quota(0).reserve(7) == 7
    assert not Quota(0).is_used_up


@given(st.integers(1, 10_000), st.integers())
def test_waits_double_up_to_their_limit_with_jitter(failures: int, seed: int) -> None:
    wait_s = Backoff(0.25, 30.0).wait_s(failures, random.Random(seed))
    full_s = min(30.0, 0.25 * 2.0 ** min(failures - 1, 30))
    assert full_s / 2 <= wait_s <= full_s
