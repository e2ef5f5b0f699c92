from __future__ import annotations

from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pipeline.clock import ManualClock
from pipeline.credits import Credits
from pipeline.journal import Journal
from pipeline.types import Frame, Outcome, Shed
from tests.flow.rig import balanced
from tests.frames import frame, rejected, scored

MAX_FRAMES = 12


def shed(of: Frame) -> Outcome:
    """A frame given up."""
    return Shed(of, "deadline", of.captured_at)


class JournalMachine(RuleBasedStateMachine):
    """Frames of three streams with outcomes in any order, and partitions that come back."""

    def __init__(self) -> None:
        super().__init__()
        self.journal = Journal(Credits(MAX_FRAMES, 10**6), ManualClock())
        self.generation = 0
        self.next_offset = dict.fromkeys("abc", 0)
        self.came: dict[str, list[Frame]] = {stream: [] for stream in "abc"}
        self.undecided: list[Frame] = []
        self.written: list[Outcome] = []
        self.unacknowledged: list[Outcome] = []
        self.turned_away = 0

    @precondition(lambda self: self.journal.room(1))
    @rule(streams=st.lists(st.sampled_from("abc"), min_size=1, max_size=4))
    def frames_come(self, streams: list[str]) -> None:
        for stream in streams[: self.journal.room(len(streams))]:
            came = frame(self.next_offset[stream], stream, generation=self.generation)
            self.next_offset[stream] += 1
            self.journal.admit([came])
            self.came[stream].append(came)
            self.undecided.append(came)

    @precondition(lambda self: self.undecided)
    @rule(
        data=st.data(),
        decide=st.sampled_from((scored, rejected, shed)),
    )
    def a_frame_gets_its_outcome(
        self, data: st.DataObject, decide: Callable[[Frame], Outcome]
    ) -> None:
        of = self.undecided.pop(data.draw(st.integers(0, len(self.undecided) - 1)))
        ready = self.journal.in_stream_order([decide(of)])
        self.written += ready
        self.unacknowledged += ready

    @precondition(lambda self: self.unacknowledged)
    @rule(data=st.data())
    def some_outcomes_are_durable(self, data: st.DataObject) -> None:
        done = data.draw(st.lists(st.sampled_from(self.unacknowledged), min_size=1))
        self.journal.finish(done)
        self.unacknowledged = [each for each in self.unacknowledged if each not in done]

    @rule()
    def a_frame_is_turned_away(self) -> None:
        self.journal.turn_away(frame(0, "d"), "overload")
        self.turned_away += 1

    @rule()
    def the_partitions_come_back(self) -> None:
        """A rebalance: what wasn't committed comes again, while some of it is still here."""
        self.generation += 1
        for stream in self.next_offset:
            self.next_offset[stream] = self.journal.next_offsets().get((stream, 0), 0)

    @invariant()
    def every_frame_is_counted_once(self) -> None:
        counts = self.journal.counts()
        assert balanced(counts)
        assert counts.in_flight == len(self.unacknowledged) + self.not_written()
        came = sum(len(frames) for frames in self.came.values())
        assert sum(counts.received.values()) == came + self.turned_away

    @invariant()
    def rows_are_in_the_order_of_arrival(self) -> None:
        for stream, came in self.came.items():
            rows = [each.frame for each in self.written if each.frame.stream == stream]
            assert rows == came[: len(rows)]

    @invariant()
    def credits_are_those_of_the_frames_in_flight(self) -> None:
        assert self.journal.room(MAX_FRAMES) == MAX_FRAMES - self.journal.counts().in_flight

    def not_written(self) -> int:
        """Frames without an outcome, or with one that an earlier frame holds back."""
        return sum(len(frames) for frames in self.came.values()) - len(self.written)


TestJournal = JournalMachine.TestCase
TestJournal.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
