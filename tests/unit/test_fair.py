from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.fair import FairQueue
from tests.frames import frame


def test_a_hot_stream_does_not_starve_the_others() -> None:
    queue = FairQueue()
    for offset in range(50):
        queue.push(frame(offset, "hot"))
    for offset in range(3):
        queue.push(frame(offset, "calm"))
    first = [queue.pop().stream for _ in range(8)]
    assert first.count("calm") == 3


def test_large_frames_get_the_same_share_of_work() -> None:
    queue = FairQueue()
    for offset in range(40):
        queue.push(frame(offset, "large", b"x" * 3 * 128 * 1024))
        queue.push(frame(offset, "small"))
    first = [queue.pop().stream for _ in range(25)]
    assert 4 <= first.count("large") <= 6


def test_the_oldest_of_a_stream_are_dropped_first() -> None:
    queue = FairQueue()
    for offset in range(4):
        queue.push(frame(offset))
    assert [each.position.offset for each in queue.drop_oldest("cam", keep=1)] == [0, 1, 2]
    assert queue.drop_oldest("nobody", keep=1) == []
    assert queue.pop().position.offset == 3
    with pytest.raises(IndexError):
        queue.pop()


@given(
    st.lists(
        st.one_of(st.tuples(st.sampled_from("abcd"), st.integers(1, 2_000_000)), st.none()),
        max_size=80,
    )
)
def test_nothing_is_lost_or_doubled_and_streams_stay_in_order(steps: list) -> None:
    queue, pushed, popped = FairQueue(), 0, []
    for offset, step in enumerate(steps):
        if step is not None:
            queue.push(frame(offset, step[0], bytes(step[1])))
            pushed += 1
        elif len(queue):
            popped.append(queue.pop())
    while len(queue):
        popped.append(queue.pop())
    assert len(popped) == pushed
    for stream in "abcd":
        offsets = [each.position.offset for each in popped if each.stream == stream]
        assert offsets == sorted(set(offsets))
