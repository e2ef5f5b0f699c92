"""The line of a strict sink, against a broker that commits rows and offsets together."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from pipeline.sink.unsettled import Unsettled
from pipeline.types import Outcome, Position
from tests.frames import frame, rejected, scored

Fate = Literal["committed", "aborted", "unheard"]


def outcome(topic: str, offset: int, generation: int = 1, size: int = 0) -> Outcome:
    """A score, or with ``size`` the rejection of so many bytes."""
    of = frame(offset, topic, b"x" * max(1, size), generation=generation)
    return rejected(of) if size else scored(of)


def always(_: Position) -> bool:
    return True


@given(
    st.lists(st.sampled_from("abc"), max_size=60),
    st.lists(
        st.tuples(
            st.integers(0, 9),
            st.integers(1, 9),
            st.sampled_from(["committed", "aborted", "unheard"]),
        )
    ),
)
def test_each_row_is_written_once_whatever_becomes_of_transactions(
    partitions: list[str], turns: list[tuple[int, int, Fate]]
) -> None:
    """``unheard``: the broker committed, and the answer got lost."""
    counts: Counter[str] = Counter()
    coming: list[Outcome] = []
    for each in partitions:
        coming.append(outcome(each, counts[each]))
        counts[each] += 1
    line, rows, offsets, done = Unsettled(), [], {}, []
    turns += [(60, 60, "committed")]
    for taken, most, fate in turns:
        line.add(coming[:taken])
        del coming[:taken]
        batch = line.next_batch(most, 1 << 20, always)
        assert len(batch.outcomes) <= most
        if fate != "aborted":
            rows += batch.outcomes
            offsets |= batch.next_offsets
        settled = batch.outcomes if fate == "committed" else line.covered(offsets)
        line.settle(settled)
        done += settled
        written = Counter(each.frame.position.topic for each in rows)
        # What is committed is passed by the offsets, and nothing else is.
        assert {(topic, 0): count for topic, count in written.items()} == offsets
    assert len(line) == 0
    assert sorted(each.frame.frame_id for each in rows) == sorted(
        f"{topic}/0/{offset}" for topic, count in counts.items() for offset in range(count)
    )
    assert Counter(map(id, done)) == Counter(map(id, rows))


def test_what_is_written_again_stands_where_it_stood() -> None:
    line = Unsettled()
    first, second = outcome("a", 0), outcome("a", 1)
    line.add([first, second])
    line.add([second, first])
    assert line.next_batch(9, 0, always).outcomes == [first, second]
    assert line.partitions == {("a", 0)}


def test_what_is_anothers_gets_no_row_and_moves_no_offset() -> None:
    line = Unsettled()
    old, new, other = outcome("a", 0, 1), outcome("a", 0, 2), outcome("b", 5, 1)
    line.add([old, new, other])
    batch = line.next_batch(9, 0, lambda at: at.topic != "a" or at.generation == 2)
    assert batch.foreign == [old]
    assert batch.outcomes == [new, other]
    assert batch.next_offsets == {("a", 0): 1, ("b", 0): 6}


def test_rejected_bytes_end_a_transaction_but_never_keep_one_out() -> None:
    line = Unsettled()
    outcomes = [outcome("a", offset, size=600) for offset in range(3)]
    line.add(outcomes)
    batch = line.next_batch(9, 1000, always)
    assert batch.outcomes == outcomes[:1]
    line.settle(batch.outcomes)
    assert line.next_batch(9, 1, always).outcomes == outcomes[1:2]
    assert line.next_batch(9, 1200, always).outcomes == outcomes[1:]


def test_an_offset_sets_free_the_rows_before_it_alone() -> None:
    line = Unsettled()
    outcomes = [outcome("a", offset) for offset in (3, 7, 9)]
    line.add(outcomes)
    assert list(line.covered({("a", 0): 8, ("b", 0): 99})) == outcomes[:2]
    assert list(line.covered({})) == []
