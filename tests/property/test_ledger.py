from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pipeline.commit import Ledger
from pipeline.types import Position


class LedgerMachine(RuleBasedStateMachine):
    """The ledger beside the plainest model of it: a list of offsets and a set of finished ones."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.generation = 0
        self.offsets: list[int] = []
        self.finished: set[int] = set()
        self.committed = 0
        self.next_offset = 0

    def at(self, offset: int) -> Position:
        return Position("t", 0, offset, self.generation)

    @rule(gap=st.integers(0, 50))
    def arrive(self, gap: int) -> None:
        self.next_offset += gap
        self.ledger.add(self.at(self.next_offset))
        self.offsets.append(self.next_offset)
        self.next_offset += 1

    @precondition(lambda self: set(self.offsets) - self.finished)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from(sorted(set(self.offsets) - self.finished)))
        assert self.ledger.finish(self.at(offset))
        self.finished.add(offset)

    @precondition(lambda self: self.finished)
    @rule(data=st.data())
    def finish_again(self, data: st.DataObject) -> None:
        assert not self.ledger.finish(self.at(data.draw(st.sampled_from(sorted(self.finished)))))

    @rule(is_told=st.booleans())
    def lose_and_get_back_the_partition(self, is_told: bool) -> None:
        """A rebalance: what wasn't committed comes again, late outcomes of before are refused."""
        before = [self.at(each) for each in self.offsets if each not in self.finished]
        self.next_offset = self.watermark() or (self.offsets[0] if self.offsets else 0)
        if is_told:
            self.ledger.revoke(("t", 0))
            assert self.ledger.next_offsets() == {}
            assert self.ledger.in_flight == 0
        self.generation += 1
        self.offsets, self.finished, self.committed = [], set(), 0
        self.arrive(gap=0)
        assert not any(self.ledger.finish(each) for each in before)

    def watermark(self) -> int:
        """One past the last offset before which all are finished, 0 if the first isn't."""
        last = 0
        for offset in self.offsets:
            if offset not in self.finished:
                break
            last = offset + 1
        return last

    @invariant()
    def the_watermark_is_contiguous_and_never_goes_back(self) -> None:
        got = self.ledger.next_offsets().get(("t", 0), 0)
        assert got == self.watermark()
        assert got >= self.committed
        self.committed = got

    @invariant()
    def in_flight_is_what_has_no_outcome(self) -> None:
        assert self.ledger.in_flight == len(self.offsets) - len(self.finished)


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
