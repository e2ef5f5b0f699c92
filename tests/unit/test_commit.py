from __future__ import annotations

import pytest

from pipeline.commit import Ledger
from pipeline.types import Position


def at(offset: int, generation: int = 0) -> Position:
    return Position("t", 0, offset, generation)


def test_the_watermark_waits_for_the_oldest_frame() -> None:
    ledger = Ledger()
    for offset in (5, 6, 7):
        ledger.add(at(offset))
    assert ledger.finish(at(6))
    assert ledger.finish(at(7))
    assert ledger.next_offsets() == {}
    assert ledger.finish(at(5))
    assert ledger.next_offsets() == {("t", 0): 8}
    assert ledger.in_flight == 0


def test_offsets_may_be_sparse() -> None:
    ledger = Ledger()
    for offset in (3, 10, 500):
        ledger.add(at(offset))
    ledger.finish(at(3))
    ledger.finish(at(10))
    assert ledger.next_offsets() == {("t", 0): 11}
    ledger.finish(at(500))
    assert ledger.next_offsets() == {("t", 0): 501}


def test_a_frame_is_finished_once() -> None:
    ledger = Ledger()
    ledger.add(at(0))
    ledger.add(at(1))
    assert ledger.finish(at(1))
    assert not ledger.finish(at(1))
    assert not ledger.finish(at(99))
    assert ledger.in_flight == 1


def test_an_outcome_of_an_older_assignment_is_refused() -> None:
    ledger = Ledger()
    ledger.add(at(0, generation=1))
    ledger.add(at(1, generation=1))
    ledger.add(at(0, generation=2))
    assert ledger.in_flight == 1
    assert not ledger.finish(at(0, generation=1))
    assert ledger.next_offsets() == {}
    assert ledger.finish(at(0, generation=2))


def test_an_offset_that_does_not_rise_is_a_mistake() -> None:
    ledger = Ledger()
    ledger.add(at(4))
    with pytest.raises(ValueError, match="isn't after offset 4"):
        ledger.add(at(4))
    with pytest.raises(ValueError, match="isn't after"):
        ledger.add(at(9, generation=-1))


def test_partitions_do_not_hold_each_other_back() -> None:
    ledger = Ledger()
    ledger.add(Position("t", 0, 0))
    ledger.add(Position("t", 1, 0))
    ledger.finish(Position("t", 1, 0))
    assert ledger.next_offsets() == {("t", 1): 1}


def test_a_partition_that_was_taken_away_has_nothing_to_commit() -> None:
    ledger = Ledger()
    for offset in (0, 1):
        ledger.add(at(offset))
    ledger.finish(at(0))
    assert ledger.in_flight_of(("t", 0)) == 1
    ledger.revoke(("t", 0))
    ledger.revoke(("never ours", 3))
    assert (ledger.next_offsets(), ledger.in_flight) == ({}, 0)
    assert not ledger.finish(at(1))
    ledger.add(at(0, generation=1))
    ledger.finish(at(0, generation=1))
    assert ledger.next_offsets() == {("t", 0): 1}
