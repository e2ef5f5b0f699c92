from __future__ import annotations

import threading

from pipeline.clock import ManualClock
from pipeline.credits import Credits
from pipeline.journal import Journal
from pipeline.metrics import MAX_STREAM_LABELS
from tests.flow.rig import balanced
from tests.frames import frame, rejected, scored


def journal(max_frames: int = 1000) -> tuple[Journal, ManualClock]:
    clock = ManualClock()
    return Journal(Credits(max_frames, 10**9), clock), clock


def test_a_frame_that_is_finished_twice_counts_once() -> None:
    book, _clock = journal()
    book.admit([frame(0)])
    book.finish([scored(frame(0)), scored(frame(0))])
    counts = book.counts()
    assert counts.scored == {"cam": 1}
    assert balanced(counts)


def test_credits_come_back_with_the_outcome() -> None:
    book, _clock = journal(max_frames=2)
    book.admit([frame(0), frame(1)])
    assert book.room(5) == 0
    book.finish([rejected(frame(0))])
    assert book.room(5) == 1


def test_an_outcome_of_an_older_assignment_counts_and_gives_back_its_credit() -> None:
    book, _clock = journal(max_frames=3)
    book.admit([frame(0), frame(1)])
    book.admit([frame(0, generation=1)])
    assert balanced(book.counts())
    assert book.room(5) == 0
    book.finish([scored(frame(0)), scored(frame(1))])
    assert balanced(book.counts())
    assert book.room(5) == 2
    assert book.next_offsets() == {}
    book.finish([scored(frame(0, generation=1))])
    assert book.next_offsets() == {("cam", 0): 1}
    assert book.counts().in_flight == 0


def test_a_lone_frame_after_a_long_silence_is_no_stall() -> None:
    book, clock = journal()
    book.admit([frame(0)])
    book.finish([scored(frame(0))])
    clock.advance(3600)
    book.admit([frame(1)])
    assert book.idle_for_s() == 0
    clock.advance(40)
    assert book.idle_for_s() == 40


def test_frames_that_keep_coming_do_not_hide_a_stall() -> None:
    book, clock = journal()
    for offset in range(40):
        book.admit([frame(offset)])
        clock.advance(1)
    assert book.idle_for_s() == 40


def test_time_is_counted_from_the_first_frame_to_the_last_outcome() -> None:
    book, clock = journal()
    assert book.busy_s() == 0
    clock.advance(100)
    book.admit([frame(0)])
    clock.advance(3)
    book.finish([scored(frame(0))])
    clock.advance(50)
    assert book.busy_s() == 3


def test_streams_beyond_the_limit_are_counted_together() -> None:
    book, _clock = journal(max_frames=10**6)
    for number in range(MAX_STREAM_LABELS + 50):
        book.admit([frame(0, f"stream-{number}")])
    counts = book.counts()
    assert len(counts.received) == MAX_STREAM_LABELS + 1
    assert counts.received["other"] == 50
    assert balanced(counts)


def test_a_frame_turned_away_is_received_and_shed() -> None:
    book, _clock = journal()
    book.turn_away(frame(0), "overload")
    counts = book.counts()
    assert (counts.received, counts.shed) == ({"cam": 1}, {("cam", "overload"): 1})
    assert balanced(counts)


def test_a_partition_is_finished_when_its_last_frame_is() -> None:
    book, _clock = journal()
    book.admit([frame(0), frame(1), frame(0, stream="other")])
    assert book.in_flight_of({("cam", 0)}) == 2
    assert not book.wait_finished({("cam", 0)}, 0.01)
    finisher = threading.Timer(0.05, lambda: book.finish([scored(frame(0)), scored(frame(1))]))
    finisher.start()
    assert book.wait_finished({("cam", 0)}, 10)
    finisher.join()
    assert book.in_flight_of({("other", 0)}) == 1


def test_frames_of_a_partition_that_was_taken_away_keep_their_outcome_and_credit() -> None:
    book, _clock = journal(max_frames=2)
    book.admit([frame(0), frame(1)])
    book.revoke({("cam", 0)})
    assert book.wait_finished({("cam", 0)}, 0.0)
    assert book.room(5) == 0
    book.finish([scored(frame(0)), scored(frame(1))])
    assert book.room(5) == 2
    assert book.next_offsets() == {}
    assert book.counts().scored == {"cam": 2}
    assert balanced(book.counts())


def test_a_frame_that_those_behind_it_have_passed_by_is_seen_however_busy_the_others_are() -> None:
    book, clock = journal()
    book.admit([frame(0), frame(1), frame(2), *(frame(k, "other") for k in range(40))])
    assert book.in_stream_order([scored(frame(1))]) == []
    for k in range(40):
        clock.advance(0.5)
        book.finish(book.in_stream_order([scored(frame(k, "other"))]))
    assert book.idle_for_s() == 0.0
    assert book.held_back_s() == 20.0
    assert book.stall(4.1, sink_waits=True) is None
    assert "those behind it have theirs for 20 s" in str(book.stall(3.9, sink_waits=True))
    assert len(book.in_stream_order([scored(frame(0))])) == 2
    assert book.held_back_s() == 0.0


def test_while_a_sink_holds_up_everything_no_frame_is_passed_by() -> None:
    book, clock = journal()
    book.admit([frame(0), frame(1)])
    book.in_stream_order([scored(frame(1))])
    clock.advance(1000)
    assert book.held_back_s() == 0.0
    assert len(book.in_stream_order([scored(frame(0))])) == 2
