from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.source.kafka.suspicion import Mark


@pytest.mark.parametrize(
    ("mark", "offset", "treatment"),
    [
        (Mark(), 5, "together"),
        (Mark(together=1), 5, "together"),
        (Mark(together=2), 5, "alone"),
        (Mark(together=9), 5, "alone"),
        (Mark(until=6), 5, "alone"),
        (Mark(until=5), 5, "together"),
        (Mark(alone=1, until=9), 5, "alone"),
        (Mark(together=1, alone=1, until=9), 5, "alone"),
        (Mark(together=2, alone=1, until=9), 5, "rejected"),
        (Mark(alone=2, until=9), 5, "rejected"),
    ],
)
def test_how_a_frame_is_treated_that_others_may_have_died_of(
    mark: Mark, offset: int, treatment: str
) -> None:
    assert mark.treatment(offset) == treatment


@given(st.builds(Mark, *[st.integers(0, 10**6)] * 3))
def test_a_mark_is_read_as_it_was_written(mark: Mark) -> None:
    assert Mark.parse(mark.text()) == mark


@pytest.mark.parametrize("text", ["", "somebody else's", "headrace together=x alone=1 until=2"])
def test_what_others_keep_beside_an_offset_says_nothing(text: str) -> None:
    assert Mark.parse(text) == Mark()


def test_frames_go_alone_up_to_the_end_that_the_log_had() -> None:
    mark = Mark(together=2).taken(100, end=130)
    assert mark == Mark(together=2, alone=1, until=130)
    assert mark.passed(101) == Mark(until=130)
    assert mark.passed(130) == Mark()
    assert Mark(together=2).taken(100, end=0).until == 101
    assert Mark(together=2).taken(100, end=10**9).until < 1000


@given(
    st.lists(st.sampled_from(("dies", "passes")), max_size=60), st.integers(0, 5), st.integers(1, 9)
)
def test_nobody_is_rejected_who_was_not_alone_when_workers_died(
    fates: list[str], offset: int, log: int
) -> None:
    """Whatever dies and whatever goes on: one frame after the other, as one partition has it."""
    mark, deaths = Mark(), 0
    for fate in fates:
        treatment = mark.treatment(offset)
        if treatment == "rejected":
            assert deaths >= 2
            assert mark.alone >= 1
            offset, mark, deaths = offset + 1, mark.passed(offset + 1), 0
            continue
        taken = mark.taken(offset, log)
        if fate == "dies":
            mark, deaths = taken, deaths + 1
        else:
            offset, mark, deaths = offset + 1, taken.passed(offset + 1), 0
