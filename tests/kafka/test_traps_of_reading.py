"""What Headrace does where kafka-python's consumer would trap it; docs/decisions/0011 lists all."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer
from kafka.errors import NoOffsetForPartitionError, OffsetMetadataTooLargeError
from kafka.future import Future
from kafka.structs import OffsetAndMetadata, TopicPartition

from pipeline.clock import ManualClock, SystemClock
from pipeline.errors import SourceUnavailable
from pipeline.kafka.address import KafkaAddress
from pipeline.kafka.connection import make_producer
from pipeline.metrics import Metrics
from pipeline.source.base import NoProgress
from pipeline.source.kafka.assignment import Assignment
from pipeline.source.kafka.offsets import Offsets, is_stable
from pipeline.source.kafka.plan import CommitPlan
from pipeline.source.kafka.watch import PartitionView
from tests.kafka.broker import LocalBroker
from tests.kafka.member import Member, group_consumer
from tests.kafka.topics import PICTURES, RawName, Topics
from tests.support import wait_until

pytestmark = pytest.mark.kafka


def test_paused_partitions_all_go_on_where_their_records_were_half_taken(topics: Topics) -> None:
    sent = topics.send_pictures(240)
    ids: list[str] = []
    with Member(topics) as member:
        for _ in range(4):
            ids += member.finish(member.read(7, room=3))
            assert member.poll(0) == []
        ids += member.finish(member.read(len(sent) - len(ids), room=50))
    assert sorted(ids) == sorted(sent)
    assert topics.committed() == len(sent)


def test_a_member_that_comes_and_goes_while_the_other_is_paused_loses_and_doubles_nothing(
    topics: Topics,
) -> None:
    """The listener commits what is given up, and what is given back begins there."""
    sent = topics.send_pictures(240)
    theirs: list[str] = []

    def come_and_go() -> None:
        with Member(topics) as other:
            theirs.extend(other.finish(other.read(20)))

    with Member(topics) as member:
        ours = member.finish(member.read(10, room=3))
        assert member.poll(0) == []
        guest = threading.Thread(target=come_and_go)
        guest.start()
        while guest.is_alive():
            assert member.poll(0) == []
        guest.join()
        ours += member.finish(member.read(len(sent) - len(ours) - len(theirs)))
    assert sorted(ours + theirs) == sorted(sent)
    assert topics.committed() == len(sent)


@pytest.mark.slow
def test_while_a_broker_does_not_answer_nothing_piles_up() -> None:
    with LocalBroker() as broker:
        topics = Topics(broker.address)
        sent = topics.send_pictures(8)
        with Member(topics) as member:
            member.finish(member.read(len(sent)))
            before = futures()
            with broker.frozen():
                until = time.monotonic() + 5  # several heartbeats, within the session
                while time.monotonic() < until:
                    member.poll(50)
                assert futures() - before < 500


def futures() -> int:
    """How many of kafka-python's futures there are."""
    gc.collect()
    return sum(type(each) is Future for each in gc.get_objects())


def test_who_was_silent_for_a_session_takes_no_frame_before_joining_again(topics: Topics) -> None:
    sent = topics.send_pictures(40)
    clock = ManualClock()
    with Member(topics, clock=clock) as member:
        before = member.read(10, room=10)
        late: list[str] = []
        make_anew(member, clock, lambda: late.extend(member.finish(before)))
        after = member.finish(member.read(len(sent)))
    assert set(late) <= set(after)
    assert sorted(after) == sorted(sent)


def test_who_was_silent_within_a_poll_hands_out_nothing_of_it(
    topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics.send_pictures(40)
    clock = ManualClock()
    poll = KafkaConsumer.poll

    def poll_frozen(*arguments: Any, **more: Any) -> Any:
        batches = poll(*arguments, **more)
        clock.advance(7)
        return batches

    with Member(topics, clock=clock) as member:
        member.read(10, room=10)
        monkeypatch.setattr(KafkaConsumer, "poll", poll_frozen)
        with pytest.raises(SourceUnavailable, match="silent for 7 s"):
            member.poll(10)


def test_a_new_consumer_goes_on_behind_what_was_finished_and_not_committed(topics: Topics) -> None:
    sent = topics.send_pictures(40)
    clock = ManualClock()
    with Member(topics, clock=clock) as member:
        before = member.finish(member.read(20, room=5))
        make_anew(member, clock)
        after = member.finish(member.read(len(sent) - len(before)))
        assert member.poll(10) == []
    assert sorted(before + after) == sorted(sent)
    assert topics.committed() == len(sent)


def test_where_the_group_was_moved_back_meanwhile_counts_more_than_what_was_finished(
    topics: Topics,
) -> None:
    sent = topics.send_pictures(40)
    clock = ManualClock()
    with Member(topics, clock=clock) as member:
        member.finish(member.read(20, room=20))
        member.commit_all(20)
        member.finish(member.read(10, room=10))
        make_anew(member, clock, topics.rewind)
        again = member.finish(member.read(len(sent)))
    assert sorted(again) == sorted(sent)


def make_anew(
    member: Member, clock: ManualClock, meanwhile: Callable[[], object] = lambda: None
) -> None:
    """Lets a member's consumer be given up, as after a silence, and makes another one."""
    clock.advance(7)
    with pytest.raises(SourceUnavailable, match="silent for 7 s"):
        member.poll(10)
    member.source.close()
    meanwhile()
    member.source.open()


def test_what_was_idle_before_a_partition_was_lost_is_not_committed_after(topics: Topics) -> None:
    """Another worker may have come far since: to commit would go back behind it."""
    there = TopicPartition(topics.name, 0)
    consumer = KafkaConsumer(
        bootstrap_servers=topics.servers, group_id=topics.name, enable_auto_commit=False
    )
    try:
        consumer.partitions_for_topic(topics.name)
        offsets = Offsets(CommitPlan(topics.name), SystemClock(), NoProgress(), Metrics().consumer)
        assignment = Assignment(consumer, NoProgress(), offsets, 0.0)
        consumer.subscribe([topics.name], listener=assignment)
        wait_until(lambda: consumer.poll(500) or assignment.owned)
        offsets.note_idle([PartitionView(0, 10, 10)], ())
        done(assignment.on_partitions_lost([there]))
        consumer.commit({there: OffsetAndMetadata(50, "", -1)})
        done(assignment.on_partitions_assigned([there]))
        offsets.settle(consumer, assignment.generations, 0.2)
        assert topics.committed_offsets()[0] == 50
    finally:
        consumer.close(autocommit=False)


def test_a_commit_that_had_to_find_its_coordinator_tells_of_itself(topics: Topics) -> None:
    """Here it is refused, for its metadata; to find the coordinator isn't to have committed."""
    with joined(topics) as consumer:

        def answer(text: str) -> BaseException | None:
            (partition, *_) = consumer.assignment()
            consumer._coordinator.coordinator_dead("the test says so")
            future = consumer.commit_async({partition: OffsetAndMetadata(1, text, -1)})
            wait_until(lambda: consumer.poll(timeout_ms=50) is not None and future.is_done)
            return future.exception

        # Either may come into a rebalance, and be refused for that.
        wait_until(lambda: isinstance(answer("x" * 5_000), OffsetMetadataTooLargeError))
        wait_until(lambda: answer("") is None)
    assert topics.committed() == 1


def test_what_fails_without_a_word_is_never_asked_for(topics: Topics) -> None:
    """A static member that is fenced reads on, a deserializer that raises stops its partition, and
    ciphers are ignored."""
    with joined(topics) as consumer:
        for name in ("group_instance_id", "key_deserializer", "value_deserializer", "ssl_ciphers"):
            assert consumer.config[name] is None
    producer = make_producer(KafkaAddress((topics.servers,), topics.name), deliver_within_s=60)
    producer.close(timeout=10)
    for name in ("key_serializer", "value_serializer", "ssl_ciphers"):
        assert producer.config[name] is None


@contextlib.contextmanager
def joined(topics: Topics) -> Iterator[Any]:
    """A consumer as the source makes it, a member of its group."""
    consumer = group_consumer(topics)
    try:
        consumer.partitions_for_topic(topics.name)
        consumer.subscribe([topics.name])
        wait_until(lambda: take_places(consumer))
        yield consumer
    finally:
        consumer.close(autocommit=False)


def take_places(consumer: Any) -> bool:
    """Polls; a partition without a commit asks where to begin. Whether all are there."""
    with contextlib.suppress(NoOffsetForPartitionError):
        consumer.poll(timeout_ms=200)
    if not consumer.assignment():
        return False
    consumer.seek_to_beginning()
    return is_stable(consumer)


def test_a_live_source_begins_behind_a_record_that_cannot_be_read(topics: Topics) -> None:
    """The first poll of new partitions is asked for again, and such a record with it."""
    raw = [(RawName("\xff\xfe"), b"v")]
    producer = make_producer(KafkaAddress((topics.servers,), topics.name), deliver_within_s=60)
    for partition in range(4):
        for number, headers in enumerate(([], [], raw, [])):
            sent = producer.send(
                topics.name, PICTURES[number], partition=partition, headers=headers
            )
            sent.get(30)  # in a batch of its own
    producer.close(timeout=10)
    with Member(topics, "&mode=live&max_age=600s") as member:
        frames = member.read(16)
    assert [frame.position.offset for frame in frames if frame.defect] == [2] * 4
    assert len({frame.frame_id for frame in frames}) == 16


def test_where_a_group_begins_at_the_end_is_committed_before_a_frame_is_out(
    topics: Topics,
) -> None:
    """Else a worker that is killed before its first commit loses what it had taken."""
    topics.send_pictures(12)
    with Member(topics, "&start=latest") as member:

        def has_begun() -> bool:
            assert member.poll(10) == []
            return topics.committed() == 12

        wait_until(has_begun)
        new = topics.send_pictures(5)
        taken = [frame.frame_id for frame in member.read(5)]
    assert sorted(taken) == sorted(new)
    with Member(topics, "&start=latest") as member:
        assert sorted(frame.frame_id for frame in member.read(5)) == sorted(new)


def test_after_what_retention_took_a_group_goes_on_with_what_is_left(topics: Topics) -> None:
    topics.send([PICTURES[0]] * 30, streams=1)
    with Member(topics) as member:
        number = member.finish(member.read(5, room=5))[0].split("/")[1]
    admin = KafkaAdminClient(bootstrap_servers=topics.servers)
    admin.delete_records({TopicPartition(topics.name, int(number)): 20})
    admin.close()
    with Member(topics) as member:
        offsets = [frame.position.offset for frame in member.read(10)]
    assert offsets == list(range(20, 30))


def test_a_frame_of_12_mib_is_read_beside_small_ones(topics: Topics) -> None:
    values = [PICTURES[0], os.urandom(12 << 20), PICTURES[1]]
    producer = make_producer(KafkaAddress((topics.servers,), topics.name), deliver_within_s=60)
    for value in values:
        producer.send(topics.name, value, partition=0).get(30)
    producer.close(timeout=10)
    with Member(topics) as member:
        assert [frame.payload for frame in member.read(3)] == values


def done(coroutine: Coroutine[Any, Any, None]) -> None:
    """Runs a listener's method that has nothing to wait for."""
    with pytest.raises(StopIteration):
        coroutine.send(None)
