"""Rebalances of a group, in any order that there is: what is committed is done, and all is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pipeline.clock import Clock
from pipeline.commit import Ledger, Partition
from pipeline.credits import Credits
from pipeline.journal import Journal
from pipeline.source.kafka.plan import CommitPlan, Places
from pipeline.source.kafka.watch import PartitionView
from pipeline.types import Position
from tests.property.group import TOPIC, Fate, Log, Worker

WORKERS = 2
PARTITIONS = 2

some_worker = st.integers(0, WORKERS - 1)
some_partition = st.integers(0, PARTITIONS - 1)
fates = st.sampled_from(("taken", "taken", "refused", "taken, unanswered", "lost on its way"))


def owns(machine: GroupMachine) -> bool:
    """Somebody owns a partition, or thinks so."""
    return any(worker.positions for worker in machine.workers)


class GroupMachine(RuleBasedStateMachine):
    """Workers of one group, whose partitions come and go while outcomes arrive late."""

    journal = Journal
    plan = CommitPlan

    def __init__(self) -> None:
        super().__init__()
        self.logs = [Log() for _ in range(PARTITIONS)]
        self.workers = [self.new_worker() for _ in range(WORKERS)]

    def new_worker(self) -> Worker:
        return Worker(self.logs, self.journal, self.plan)

    @initialize()
    def the_group_forms(self) -> None:
        for number in range(PARTITIONS):
            self.workers[0].assign(number)

    @rule(
        number=some_partition,
        frames=st.sampled_from((0, 1, 3, 4)),
        gap=st.sampled_from((0, 0, 3)),
        markers=st.sampled_from((0, 0, 1, 2)),
    )
    def records_are_written(self, number: int, frames: int, gap: int, markers: int) -> None:
        self.logs[number].produce(frames, gap, markers)

    def one_with(self, data: st.DataObject, has: Callable[[Worker], object]) -> Worker:
        return data.draw(st.sampled_from([worker for worker in self.workers if has(worker)]))

    @precondition(owns)
    @rule(data=st.data(), most=st.integers(1, 4), is_past_markers=st.booleans())
    def a_worker_polls(self, data: st.DataObject, most: int, is_past_markers: bool) -> None:
        worker = self.one_with(data, lambda worker: worker.positions)
        worker.end_poll()
        for _, number in list(worker.positions):
            worker.poll(number, most, is_past_markers=is_past_markers)
        worker.admit()

    @rule(which=some_worker)
    def a_worker_hands_out_what_it_carries(self, which: int) -> None:
        self.workers[which].end_poll()
        self.workers[which].admit()

    @precondition(lambda self: any(worker.undecided for worker in self.workers))
    @rule(data=st.data(), count=st.integers(1, 3))
    def outcomes_become_durable(self, data: st.DataObject, count: int) -> None:
        worker = self.one_with(data, lambda worker: worker.undecided)
        for _ in range(min(count, len(worker.undecided))):
            worker.finish(data.draw(st.integers(0, len(worker.undecided) - 1)))

    @precondition(owns)
    @rule(data=st.data(), fate=fates, has_looked=st.booleans())
    def a_worker_commits(self, data: st.DataObject, fate: Fate, has_looked: bool) -> None:
        worker = self.one_with(data, lambda worker: worker.positions)
        worker.end_poll()
        if has_looked:
            worker.look()
        worker.commit(fate)

    @precondition(lambda self: any(worker.unanswered for worker in self.workers))
    @rule(data=st.data())
    def an_old_commit_is_answered(self, data: st.DataObject) -> None:
        worker = self.one_with(data, lambda worker: worker.unanswered)
        worker.hear_late(data.draw(st.integers(0, len(worker.unanswered) - 1)))

    @rule(number=some_partition, fate=fates, to=some_worker)
    def a_partition_moves(self, number: int, fate: Fate, to: int) -> None:
        """In good order, to another worker or back to the same one."""
        owner = self.logs[number].owner
        if owner is not None:
            owner.revoke(number, fate)
        self.give_away(to)

    @rule(
        which=some_worker,
        how=st.sampled_from(("silent", "silent", "cut off", "killed")),
        fate=fates,
        to=some_worker,
    )
    def a_worker_fails(self, which: int, how: str, fate: Fate, to: int) -> None:
        worker = self.workers[which]
        if how == "cut off":
            worker.break_off(fate)
        else:
            worker.be_thrown_out()
        if how == "killed":
            self.workers[which] = self.new_worker()
        self.give_away(to)

    @precondition(lambda self: not all(worker.is_member for worker in self.workers))
    @rule(data=st.data(), to=some_worker)
    def a_worker_that_was_thrown_out_comes_back(self, data: st.DataObject, to: int) -> None:
        self.one_with(data, lambda worker: not worker.is_member).come_back()
        self.give_away(to)

    def give_away(self, to: int) -> None:
        """The group gives partitions that nobody owns to a member."""
        if self.workers[to].is_member:
            for number, log in enumerate(self.logs):
                if log.owner is None:
                    self.workers[to].assign(number)

    @invariant()
    def nothing_is_committed_without_an_outcome(self) -> None:
        for log in self.logs:
            assert {each for each in log.offsets if each < log.committed} <= log.durable

    @invariant()
    def journals_reckon_right(self) -> None:
        for worker in self.workers:
            worker.check()

    def teardown(self) -> None:
        """The last drain: who is left does all that is left, and the lag is 0."""
        for worker in self.workers:
            worker.come_back()
            worker.end_poll()
            while worker.undecided:
                worker.finish(0)
        last = self.workers[0]
        for number, log in enumerate(self.logs):
            last.assign(number)
            while last.positions[TOPIC, number] < log.end:
                last.poll(number, 4, is_past_markers=True)
                last.admit()
                while last.undecided:
                    last.finish(0)
                    last.admit()
        last.look()
        last.commit("taken")
        for log in self.logs:
            assert log.durable == set(log.offsets)
            assert log.committed == log.end
        assert all(worker.journal.counts().in_flight == 0 for worker in self.workers)


TestGroup = GroupMachine.TestCase
TestGroup.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)


class HighestLedger(Ledger):
    """Commits up to the newest outcome, whatever is missing before it."""

    def __init__(self) -> None:
        super().__init__()
        self._highest: dict[Partition, int] = {}

    def finish(self, position: Position) -> bool:
        is_done = super().finish(position)
        if is_done:
            partition = (position.topic, position.partition)
            self._highest[partition] = max(position.offset + 1, self._highest.get(partition, 0))
        return is_done

    def revoke(self, partition: Partition) -> None:
        super().revoke(partition)
        self._highest.pop(partition, None)

    def next_offsets(self) -> dict[Partition, int]:
        return dict(self._highest)


class ForgetfulLedger(Ledger):
    """Takes a late outcome for one of the present assignment."""

    def finish(self, position: Position) -> bool:
        now = self._assignments.get((position.topic, position.partition))
        generation = position.generation if now is None else now.generation
        return super().finish(
            Position(position.topic, position.partition, position.offset, generation)
        )


class KeepingLedger(Ledger):
    """Doesn't let go of partitions."""

    def revoke(self, partition: Partition) -> None:
        pass


class HastyPlan(CommitPlan):
    """Takes what was read for done."""

    def note_idle(self, views: Sequence[PartitionView], busy: object) -> None:
        super().note_idle(views, ())


class StubbornPlan(CommitPlan):
    """Goes by the offset alone, whichever assignment it is of."""

    def note_done(self, done: Places) -> None:
        super().note_done({partition: (10**6, offset) for partition, (_, offset) in done.items()})


def journal_with(ledger: type[Ledger]) -> type[Journal]:
    class MutatedJournal(Journal):
        def __init__(self, credit: Credits, clock: Clock) -> None:
            super().__init__(credit, clock)
            self._ledger = ledger()

    return MutatedJournal


@pytest.mark.parametrize("mutant", [HighestLedger, ForgetfulLedger, KeepingLedger])
def test_the_machine_finds_a_broken_ledger(mutant: type[Ledger]) -> None:
    class Mutated(GroupMachine):
        journal = journal_with(mutant)

    fails(Mutated)


@pytest.mark.parametrize("mutant", [HastyPlan, StubbornPlan])
def test_the_machine_finds_a_broken_plan(mutant: type[CommitPlan]) -> None:
    class Mutated(GroupMachine):
        plan = mutant

    fails(Mutated)


def fails(machine: type[GroupMachine]) -> None:
    """Each is found within some hundred examples at the most; the same ones each time."""
    quick = settings(
        TestGroup.settings,
        max_examples=2000,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),
        report_multiple_bugs=False,
    )
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=quick)
