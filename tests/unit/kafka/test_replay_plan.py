from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.kafka.lag import Bounds
from pipeline.kafka.replay_plan import (
    Choice,
    Edge,
    Mark,
    check_choice,
    known_marks,
    mark_of,
    parse_edge,
    plan,
    plan_news,
)

REASONS = ("corrupt", "empty", "too_many_bytes")
OFFSETS = st.integers(0, 60)


@pytest.mark.parametrize(
    ("text", "edge"),
    [
        ("0", Edge(offset=0)),
        ("120", Edge(offset=120)),
        ("earliest", Edge()),
        ("1970-01-01T00:01:00Z", Edge(unix_s=60.0)),
        ("1970-01-01T01:01:00.5+01:00", Edge(unix_s=60.5)),
        ("1969-01-01T00:00:00Z", Edge()),
    ],
)
def test_an_edge_is_an_offset_or_a_moment(text: str, edge: Edge) -> None:
    assert parse_edge(text) == edge


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2026-01-31T23:59:00", "has no zone"),
        ("yesterday", "expected an offset, a moment"),
        ("-5", "expected an offset"),
        ("", "expected an offset"),
        ("٣", "expected an offset"),
    ],
)
def test_what_is_no_edge_is_refused_with_what_is_one(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_edge(text)


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (Choice(None, Edge(offset=3)), "add --partition"),
        (Choice(None, None, Edge(offset=3)), "add --partition"),
        (Choice(4, Edge()), "there is no partition 4, expected 0 to 3"),
        (Choice(1), "a partition alone is no range"),
    ],
)
def test_a_choice_that_cannot_be_meant_is_refused(choice: Choice, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_choice(choice, range(4))


def test_a_range_is_of_offsets_of_one_partition_or_of_moments_of_all() -> None:
    logs = {0: Bounds(0, 100), 1: Bounds(50, 80)}
    assert plan(logs, Choice(1, Edge(offset=60), Edge(offset=70)), {}) == {1: Bounds(60, 70)}
    since, until = Edge(unix_s=10.0), Edge(unix_s=20.0)
    firsts = {since: {0: 40, 1: -1}, until: {0: -1, 1: -1}}
    assert plan(logs, Choice(None, since, until), firsts) == {0: Bounds(40, 100)}
    assert plan(logs, Choice(None, Edge()), {}) == logs


@given(OFFSETS, OFFSETS, st.none() | OFFSETS, st.none() | OFFSETS)
def test_a_range_is_never_empty_nor_beyond_its_log(
    start: int, length: int, begin: int | None, end: int | None
) -> None:
    log = Bounds(start, start + length)
    edges = (Edge(offset=at) if at is not None else None for at in (begin, end))
    for each in plan({0: log}, Choice(0, *edges), {}).values():
        assert log.start <= each.start < each.end <= log.end
        assert begin is None or each.start >= begin
        assert end is None or each.end <= end


@given(
    st.lists(st.sampled_from(REASONS), max_size=50),
    st.lists(
        st.tuples(st.integers(0, 20), st.sets(st.sampled_from(REASONS)), st.integers(0, 50)),
        max_size=8,
    ),
)
def test_however_it_is_asked_for_each_dead_letter_is_put_through_once(
    letters: list[str], runs: list[tuple[int, set[str], int]]
) -> None:
    """Replays of some reasons or all, of a topic that grows, some of them interrupted."""
    mark, there = Mark(), 0
    sent: list[int] = []
    for grows, reasons, most in [*runs, (50, set(), 50)]:
        there = min(len(letters), there + grows)
        ranges = plan_news({0: Bounds(0, there)}, {0: mark}, reasons)
        if 0 not in ranges:
            continue
        begin, end = ranges[0].start, min(ranges[0].end, ranges[0].start + most)
        for offset in range(begin, end):
            reason = letters[offset]
            if (not reasons or reason in reasons) and not mark.is_done(offset, reason):
                sent.append(offset)
        mark = mark.after(end, reasons)
        assert mark_of(mark.done, mark.note()) == mark  # as Kafka keeps it
    assert sorted(sent) == list(range(len(letters)))


def test_a_note_of_somebody_else_says_nothing() -> None:
    assert mark_of(5, "") == Mark(5)
    assert mark_of(5, "hello, world: 7,corrupt:x,empty:9,corrupt:3") == Mark(5, {"empty": 9})


def test_marks_beyond_a_log_are_of_a_topic_made_anew() -> None:
    logs = {0: Bounds(0, 10), 1: Bounds(0, 10), 2: Bounds(0, 0)}
    committed = {0: (11, ""), 1: (4, "corrupt:30,empty:8"), 2: (0, "")}
    assert known_marks(committed, logs) == {1: Mark(4, {"empty": 8}), 2: Mark(0)}


def test_what_was_deleted_meanwhile_is_not_planned() -> None:
    assert plan_news({0: Bounds(30, 40), 1: Bounds(9, 9)}, {0: Mark(5)}, ()) == {0: Bounds(30, 40)}
