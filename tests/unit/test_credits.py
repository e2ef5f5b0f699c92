from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.credits import Credits


def test_frames_are_never_overdrawn() -> None:
    credit = Credits(max_frames=3, max_bytes=1000)
    assert credit.room(10) == 3
    credit.take(10)
    credit.take(10)
    assert credit.room(10) == 1
    credit.take(10)
    assert credit.room(10) == 0
    credit.give_back(10)
    assert credit.room(10) == 1


def test_room_is_counted_in_frames_of_the_largest_size_seen() -> None:
    credit = Credits(max_frames=100, max_bytes=1000)
    credit.take(300)
    assert credit.room(100) == 2
    credit.take(300)
    assert credit.room(100) == 1
    credit.take(400)
    assert credit.room(100) == 0


def test_a_frame_larger_than_the_whole_budget_still_comes_in_alone() -> None:
    credit = Credits(max_frames=100, max_bytes=1000)
    assert credit.room(5) == 5
    credit.take(5000)
    assert credit.room(5) == 0
    credit.give_back(5000)
    assert credit.room(5) == 1


@given(st.lists(st.integers(1, 500), max_size=60))
def test_bytes_are_overdrawn_by_one_poll_at_the_most(sizes: list[int]) -> None:
    credit = Credits(max_frames=1000, max_bytes=1000)
    held = 0
    for size in sizes:
        if credit.room(1):
            assert held < 1000
            credit.take(size)
            held += size
    assert held < 1000 + 500
