from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipeline.order import StreamOrder, partition_of
from tests.frames import frame, rejected, scored


def test_an_early_rejection_waits_for_the_frame_before_it() -> None:
    order = StreamOrder()
    first, second = frame(0), frame(1)
    order.expect(first)
    order.expect(second)
    late = rejected(second)
    assert order.release(late) == []
    early = scored(first)
    assert order.release(early) == [early, late]


def test_streams_do_not_wait_for_each_other() -> None:
    order = StreamOrder()
    order.expect(frame(0, "a"))
    order.expect(frame(0, "b"))
    outcome = scored(frame(0, "b"))
    assert order.release(outcome) == [outcome]


def test_streams_of_a_partition_wait_for_each_other_where_offsets_are_written_too() -> None:
    order = StreamOrder(partition_of)
    first, second = frame(0), replace(frame(1), stream="another")
    order.expect(first)
    order.expect(second)
    assert order.release(scored(second)) == []
    assert [each.frame for each in order.release(scored(first))] == [first, second]


def test_an_outcome_that_nobody_expects_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no frame of stream"):
        StreamOrder().release(scored(frame(0)))


@given(st.permutations(range(12)), st.lists(st.sampled_from("abc"), min_size=12, max_size=12))
def test_each_stream_comes_out_in_order_whatever_finishes_first(
    finishing: list[int], streams: list[str]
) -> None:
    order = StreamOrder()
    frames = [frame(offset, stream) for offset, stream in enumerate(streams)]
    for each in frames:
        order.expect(each)
    out = [done for index in finishing for done in order.release(scored(frames[index]))]
    assert len(out) == len(frames)
    for stream in "abc":
        offsets = [each.frame.position.offset for each in out if each.frame.stream == stream]
        assert offsets == sorted(offsets)
