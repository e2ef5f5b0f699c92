"""Who is thrown out of its group owns nothing any more, whatever kafka-python remembers."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable
from typing import Any

import pytest
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import MemberToRemove
from kafka.consumer.subscription_state import AsyncConsumerRebalanceListener
from kafka.errors import NoOffsetForPartitionError
from kafka.future import Future

from pipeline.source.kafka.offsets import is_stable
from tests.kafka.member import Member, group_consumer
from tests.kafka.topics import Topics
from tests.support import wait_until

pytestmark = pytest.mark.kafka

_LETTING_GO_S = 1.0


def throw_out(topics: Topics, *member_ids: str) -> None:
    """The broker does that to a member that was silent for a session; here to all, if none is said.
    The test's group has its topic's name."""
    admin = KafkaAdminClient(bootstrap_servers=topics.servers)
    try:
        members = admin.describe_groups([topics.name])[topics.name]["members"]
        gone = member_ids or [each["member_id"] for each in members]
        admin.remove_group_members(topics.name, [MemberToRemove(each) for each in gone])
    finally:
        admin.close()


class Owner(AsyncConsumerRebalanceListener):
    """A member that polls in a thread of its own, and takes a second to give partitions up.
    ``group`` are all of them."""

    def __init__(self, topics: Topics, group: list[Owner]) -> None:
        self._topics = topics
        self.consumer = group_consumer(topics)
        self.owned: set[TopicPartition] = set()
        self.owned_by_two: set[TopicPartition] = set()
        self.losses = 0
        self._group = group
        group.append(self)
        self._may_poll, self._is_held, self._ends = (threading.Event() for _ in range(3))
        self._thread = threading.Thread(target=self._poll)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self.owned.update(assigned)
        for each in self._group:
            if each is not self:
                self.owned_by_two |= each.owned & self.owned

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        is_done: Future[bool] = Future()
        threading.Timer(_LETTING_GO_S, is_done.success, [True]).start()
        await is_done
        self.owned.difference_update(revoked)

    async def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        self.owned.difference_update(lost)
        self.losses += 1

    def hold(self) -> None:
        """It polls no more; its heartbeats go on."""
        self._may_poll.clear()
        assert self._is_held.wait(10)

    def go_on(self) -> None:
        """It polls again."""
        self._is_held.clear()
        self._may_poll.set()

    def throw_out(self) -> None:
        """See ``throw_out``."""
        throw_out(self._topics, self.consumer.group_metadata().member_id)
        self.owned.clear()  # as the group sees it

    def has(self, count: int) -> bool:
        """Whether it owns so many partitions, and its group isn't rebalancing."""
        return len(self.owned) == count and is_stable(self.consumer)

    def __enter__(self) -> Owner:
        self.consumer.partitions_for_topic(self._topics.name)
        self.consumer.subscribe([self._topics.name], listener=self)
        self._may_poll.set()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self.go_on()
        self._thread.join()
        self.consumer.close(autocommit=False)

    def _poll(self) -> None:
        while not self._ends.is_set():
            if not self._may_poll.is_set():
                self._is_held.set()
                self._may_poll.wait()
            with contextlib.suppress(NoOffsetForPartitionError):
                self.consumer.poll(500)


def test_a_member_that_comes_back_claims_nothing_that_is_anothers_now(topics: Topics) -> None:
    """Claimed by two, a partition was given to one of them while the other had it: frames were
    scored twice, and a commit went back."""
    group: list[Owner] = []
    with Owner(topics, group) as one, Owner(topics, group) as other:
        wait_until(lambda: one.has(2) and other.has(2), 30)
        for gone, left in [(one, other), (other, one)]:  # of two claims the last one counts
            gone.hold()
            gone.throw_out()
            wait_until(lambda left=left: left.has(4), 30)
            gone.go_on()
            wait_until(lambda: one.has(2) and other.has(2), 30)
    assert [each.losses for each in group] == [1, 1]
    assert [each.owned_by_two for each in group] == [set(), set()]


def test_a_member_that_is_thrown_out_while_it_joins_again_loses_what_it_had(topics: Topics) -> None:
    """It would go on where it was, behind what others did meanwhile."""
    with Owner(topics, []) as member:
        wait_until(lambda: member.has(4), 30)
        member.hold()
        member.consumer._coordinator.request_rejoin()
        member.throw_out()
        member.go_on()
        wait_until(lambda: member.losses, 30)
        wait_until(lambda: member.has(4), 30)
    assert member.losses == 1


def test_a_join_whose_reason_is_gone_is_finished_all_the_same(topics: Topics) -> None:
    """It began as partitions were added, and a poll ended in it: the next one forgot about it."""
    with Owner(topics, []) as member:
        wait_until(lambda: member.has(4), 30)
        coordinator = member.consumer._coordinator
        assign = coordinator._perform_assignment

        def assign_slowly(*arguments: Any) -> Any:
            time.sleep(1)  # longer than a poll; what comes back from it is the leader's choice
            return assign(*arguments)

        coordinator._perform_assignment = assign_slowly
        admin = KafkaAdminClient(bootstrap_servers=topics.servers)
        admin.create_partitions({topics.name: 6})
        admin.close()
        coordinator._cluster.request_update()
        wait_until(lambda: member.has(6), 20)


def test_who_leaves_after_it_was_thrown_out_takes_nothing_back(topics: Topics) -> None:
    """It doesn't know yet, and loses its partitions while it settles what it has."""
    sent = topics.send_pictures(200)
    thrown_out = Member(topics)
    thrown_out.source.open()
    thrown_out.finish(thrown_out.read(150, room=50))
    thrown_out.commit_all(150)
    late = thrown_out.read(5, room=5)
    throw_out(topics)
    with Member(topics) as other:
        other.finish(other.read(len(sent) - 150))
        other.commit_all(len(sent))
        enough = threading.Event()
        going_on = threading.Thread(target=_keep_polling, args=(other, enough))
        going_on.start()
        try:
            thrown_out.finish(late)
            thrown_out.source.close()
            assert topics.committed() == len(sent)
        finally:
            enough.set()
            going_on.join()
    assert topics.committed() == len(sent)


def _keep_polling(member: Member, enough: threading.Event) -> None:
    while not enough.is_set():
        member.finish(member.poll(50))


@pytest.mark.parametrize("start", ["earliest", "latest"])
def test_where_the_group_stands_is_asked_anew_for_each_assignment(
    topics: Topics, start: str
) -> None:
    """A question that a poll didn't wait for is kept by kafka-python, and its answer was taken for
    that of a later assignment of the same partitions."""
    member = Member(topics, f"&start={start}")
    member.source.open()
    coordinator = member.source._consumer._coordinator
    refresh = coordinator.refresh_committed_offsets_if_needed
    waits_ms = iter([0])  # the poll's time is over as the join ends

    def refresh_late(timeout_ms: int | None = None) -> bool:
        wait_ms = next(waits_ms, None)
        return False if wait_ms is None else refresh(timeout_ms=wait_ms)

    coordinator.refresh_committed_offsets_if_needed = refresh_late
    wait_until(lambda: member.poll(10) or member.source._assignment.owned)
    coordinator.refresh_committed_offsets_if_needed = refresh
    throw_out(topics)
    with Member(topics) as other:
        wait_until(lambda: other.poll(10) or len(other.source._assignment.owned) == 4)
        sent = topics.send_pictures(200)
        ids = other.finish(other.read(120, room=10))
        other.commit_all(120)
    ids += member.finish(member.read(len(sent) - len(ids)))
    member.source.close()
    assert sorted(ids) == sorted(sent)
    assert topics.committed() == len(sent)


@pytest.mark.parametrize(("log_start", "lost"), [(15, 0), (100, 70)])
def test_what_was_done_and_then_deleted_is_not_lost(
    topics: Topics, log_start: int, lost: int
) -> None:
    """Up to 10 it is committed, and up to 30 done when the member is thrown out."""
    topics.send_pictures(200, streams=1)
    (number,) = (number for number, end in topics.ends(topics.name).items() if end)
    with Member(topics) as member:
        member.finish(member.read(10, room=10))
        member.commit_all(10)
        member.finish(member.read(20, room=20))
        throw_out(topics)
        admin = KafkaAdminClient(bootstrap_servers=topics.servers)
        admin.delete_records({TopicPartition(topics.name, number): log_start})
        admin.close()
        time.sleep(2.5)  # a heartbeat tells it, so that the next poll joins and reads in one
        frames = member.read(10, room=10)
        assert frames[0].position.offset == max(30, log_start)
        counted = member.source._metrics.lost_records.labels(topics.name, str(number))
        assert counted._value.get() == lost


def test_a_commit_of_a_membership_that_is_over_is_dropped(topics: Topics) -> None:
    """kafka-python raises. Who has the partitions next goes on; here it is the same worker."""
    sent = topics.send_pictures(20)
    with Member(topics) as member:
        ids = member.finish(member.read(10, room=10))
        throw_out(topics)
        member.source.commit(member.journal.next_offsets())

        def is_committed() -> bool:
            ids.extend(member.finish(member.poll(20)))
            member.source.commit(member.journal.next_offsets())
            return topics.committed() == len(sent)

        wait_until(is_committed)
    assert set(ids) == set(sent)
