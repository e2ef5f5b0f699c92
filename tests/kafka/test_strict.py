"""Strict mode: rows and offsets in one transaction. The faults of it are in tests/faults."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

import pytest
from kafka import KafkaAdminClient
from kafka.errors import MessageSizeTooLargeError, ProducerFencedError, for_code
from kafka.protocol.producer import EndTxnRequest

from pipeline.clock import SystemClock
from pipeline.errors import SinkUnavailable, StageFailed
from pipeline.kafka.address import KafkaAddress
from pipeline.kafka.lag import Bounds
from pipeline.kafka.reading import read_ranges
from pipeline.kafka.transactions import Record, Transactions, committed
from pipeline.types import Frame
from tests.frames import rejected, scored
from tests.kafka.strict_member import StrictMember
from tests.kafka.topics import Topics
from tests.support import wait_until

pytestmark = pytest.mark.kafka


def rows(topics: Topics) -> list[str]:
    """The frames that have rows, as a reader of what is committed sees them."""
    return sorted(row.headers["ce_id"].decode() for row in topics.read(topics.results))


def ids(frames: Sequence[Frame]) -> list[str]:
    return sorted(frame.frame_id for frame in frames)


def records(topics: Topics, frames: Sequence[Frame]) -> list[Record]:
    return [
        Record(topics.results, b"a", b"{}", [("ce_id", frame.frame_id.encode())])
        for frame in frames
    ]


def next_offsets(frames: Sequence[Frame]) -> dict[tuple[str, int], int]:
    places = [frame.position for frame in frames]
    return {(each.topic, each.partition): each.offset + 1 for each in places}


def commits(member: StrictMember, result: str) -> float:
    (counter,) = member.seat.metrics.commits.collect()
    (value,) = [
        each.value
        for each in counter.samples
        if each.name.endswith("_total") and each.labels == {"result": result}
    ]
    return value


class LateCommit:
    """The request that commits a transaction, to be sent again when it isn't expected any more."""

    def __init__(self, servers: str, transactional_id: str) -> None:
        self._admin = KafkaAdminClient(bootstrap_servers=servers)
        found = self._admin.describe_transactions([transactional_id])[transactional_id]
        self._coordinator = found.coordinator_id
        self._request = EndTxnRequest(
            transactional_id=transactional_id,
            producer_id=found.producer_id,
            producer_epoch=found.producer_epoch,
            committed=True,
            max_version=3,
        )

    def arrive(self) -> type[Exception]:
        """Gives the broker's answer."""
        return for_code(self._admin._manager.run(self._send).error_code)

    def close(self) -> None:
        self._admin.close()

    async def _send(self):
        return await self._admin._manager.send(self._request, node_id=self._coordinator)


@pytest.fixture
def member(topics: Topics) -> Iterator[StrictMember]:
    with StrictMember(topics) as made:
        yield made


def read(topics: Topics, member: StrictMember, count: int) -> list[Frame]:
    """Sends frames and takes them."""
    topics.send_pictures(count)
    return member.read(count)


def test_rows_letters_and_offsets_come_together(topics: Topics, member: StrictMember) -> None:
    frames = read(topics, member, 60)
    member.write(frames[:50], lambda each: (rejected if each is frames[7] else scored)(each))
    assert rows(topics) == []
    assert topics.committed() == 0
    member.collect(50)
    assert rows(topics) == ids(frames[:50])
    assert topics.committed() == 50
    (letter,) = topics.read(topics.dead_letters)
    assert dict(letter.headers)["hr-dlq-offset"] == str(frames[7].position.offset).encode()
    member.write(frames[50:])
    member.collect(10)
    assert commits(member, "done") >= 2
    assert rows(topics) == ids(frames)
    assert topics.committed() == 60


def test_an_outcome_waits_for_the_frames_before_it(topics: Topics, member: StrictMember) -> None:
    """In its partition, whatever their streams: an offset passes them all."""
    topics.send_pictures(60, streams=40)
    frames = member.read(60)
    partition = frames[0].position.partition
    line = [each for each in frames if each.position.partition == partition]
    assert len({each.stream for each in line}) > 1
    assert member.write(line[1:]) == []
    assert [each.frame for each in member.write(line[:1])] == line
    member.collect(len(line))
    assert topics.committed_offsets()[partition] == len(line)


def test_the_source_commits_nothing_by_itself(topics: Topics, member: StrictMember) -> None:
    frames = read(topics, member, 40)
    member.journal.finish([scored(each) for each in frames])
    for _ in range(4):
        member.poll(1)
        member.source.commit(member.journal.next_offsets())
    member.source.close()
    assert topics.committed() == 0


def test_what_was_taken_away_gets_no_row(topics: Topics, member: StrictMember) -> None:
    frames = read(topics, member, 60)
    gone = frames[0].position.partition
    member.journal.revoke([(topics.name, gone)])
    member.write(frames)
    member.collect(60)
    kept = [each for each in frames if each.position.partition != gone]
    assert rows(topics) == ids(kept)
    assert topics.committed() == len(kept)


def test_a_member_of_before_commits_nothing(topics: Topics, member: StrictMember) -> None:
    frames = read(topics, member, 20)
    before = member.seat.member()
    assert before is not None
    member.source.close()
    assert member.seat.member() is None
    member.source.open()
    again = member.read(20)
    transactions = member.sink._transactions
    with pytest.raises(SinkUnavailable, match="group metadata mismatch"):
        transactions.commit(records(topics, frames), next_offsets(frames), before)
    member.write([*frames, *again])  # the former frames' outcomes come, too, and get no rows
    member.collect(40)
    assert rows(topics) == ids(frames)
    assert topics.committed() == 20


def test_the_newest_worker_of_a_slot_is_the_only_one(topics: Topics, member: StrictMember) -> None:
    frames = read(topics, member, 20)
    member.write(frames)
    newer = Transactions(member.seat.source, member.seat.transactional_id, SystemClock())
    newer.open()
    with pytest.raises(SinkUnavailable, match="Fenced"):
        member.collect(20)
    assert commits(member, "failed") == 1
    for _ in range(2):  # it never takes the slot back
        with pytest.raises(StageFailed, match=r"another worker writes as .*`slot=`"):
            member.sink.write([])
    assert rows(topics) == []
    assert topics.committed() == 0
    now = member.seat.member()
    assert now is not None
    newer.commit(records(topics, frames), next_offsets(frames), now)
    assert rows(topics) == ids(frames)
    newer.close()


def test_an_answer_that_got_lost_is_looked_up(topics: Topics, member: StrictMember) -> None:
    """The first half was committed, which nobody has told the sink."""
    frames = read(topics, member, 40)
    partition = frames[0].position.partition
    half = [each for each in frames if each.position.partition == partition]
    ready = member.write([*half, *(each for each in frames if each not in half)])
    now = member.seat.member()
    assert len(ready) == 40
    assert now is not None
    transactions = member.sink._transactions
    transactions.commit(records(topics, half), next_offsets(half), now)
    transactions.close()
    member.collect(40)
    assert rows(topics) == ids(frames)
    assert topics.committed() == 40


def test_an_epoch_that_changes_inside_a_transaction_is_no_commit(
    topics: Topics, member: StrictMember
) -> None:
    """kafka-python raises its epoch after some errors, and forgets the transaction: row 13."""
    frames = read(topics, member, 20)
    transactions = member.sink._transactions
    made = records(topics, frames)

    def with_bump() -> Iterator[Record]:
        yield from made[:10]
        assert transactions._producer is not None
        transactions._producer._transaction_manager.bump_producer_id_and_epoch()
        yield from made[10:]

    now = member.seat.member()
    assert now is not None
    with pytest.raises(SinkUnavailable):
        transactions.commit(with_bump(), next_offsets(frames), now)
    assert rows(topics) == []
    assert topics.committed() == 0
    member.write(frames)
    member.collect(20)
    assert rows(topics) == ids(frames)


def test_a_replay_reads_no_record_of_a_transaction_that_was_given_up(
    topics: Topics, member: StrictMember
) -> None:
    frames = read(topics, member, 10)
    transactions, now = member.sink._transactions, member.seat.member()
    assert now is not None

    def half() -> Iterator[Record]:
        yield from records(topics, frames[:5])
        assert transactions._producer is not None
        transactions._producer.flush()
        raise MessageSizeTooLargeError("as the broker says of a record that is too large")

    with pytest.raises(StageFailed, match=r"max\.message\.bytes"):
        transactions.commit(half(), next_offsets(frames), now)
    member.write(frames)
    member.collect(10)
    ends = {number: Bounds(0, topics.ends(topics.results)[number]) for number in range(4)}
    address = KafkaAddress((topics.servers,), topics.results)
    batches = read_ranges(address, ends, threading.Event())
    found = [dict(record.headers)["ce_id"].decode() for batch in batches for record in batch]
    assert sorted(found) == ids(frames)


def test_an_epoch_that_changes_inside_a_commit_is_no_commit(
    topics: Topics, member: StrictMember
) -> None:
    """kafka-python says then that it is done: the second half of row 13."""
    frames = read(topics, member, 20)
    transactions, now = member.sink._transactions, member.seat.member()
    assert transactions._producer is not None
    assert now is not None
    manager = transactions._producer._transaction_manager
    begin_commit, results = manager.begin_commit, []

    def with_bump():
        with manager._lock:
            results.append(begin_commit())
            manager.bump_producer_id_and_epoch()
        return results[0]

    manager.begin_commit = with_bump
    with pytest.raises(SinkUnavailable, match="epoch changed"):
        transactions.commit(records(topics, frames), next_offsets(frames), now)
    assert results[0].succeeded
    assert rows(topics) == []
    assert topics.committed() == 0
    member.write(frames)
    member.collect(20)
    assert rows(topics) == ids(frames)


def test_after_a_slow_transaction_its_late_commit_is_refused(
    topics: Topics, member: StrictMember
) -> None:
    frames = read(topics, member, 20)
    transactions, now = member.sink._transactions, member.seat.member()
    assert now is not None

    def slowly() -> Iterator[Record]:
        yield from records(topics, frames[:10])
        time.sleep(0.6)

    transactions.commit(slowly(), next_offsets(frames[:10]), now)
    late = LateCommit(topics.servers, member.seat.transactional_id)
    assert not transactions.is_open
    transactions.open()
    refused: list[type[Exception]] = []

    def with_late() -> Iterator[Record]:
        yield from records(topics, frames[10:])
        refused.append(late.arrive())

    transactions.commit(with_late(), next_offsets(frames), now)
    late.close()
    assert refused == [ProducerFencedError]
    assert rows(topics) == ids(frames)
    assert topics.committed() == 20


def test_why_strict_mode_is_experimental(topics: Topics, member: StrictMember) -> None:
    """A request to commit that the broker gets twice, late, commits half of the next transaction:
    with the protocol that kafka-python speaks, both have one epoch. Where this fails one day, as
    KIP-890 gives each its own, the flag may go."""
    frames = read(topics, member, 20)
    transactions, now = member.sink._transactions, member.seat.member()
    assert now is not None
    while True:  # the first ones may be slow
        transactions.commit(records(topics, frames[:10]), next_offsets(frames[:10]), now)
        if transactions.is_open:
            break
        transactions.open()
    seen = len(rows(topics))
    late = LateCommit(topics.servers, member.seat.transactional_id)

    def with_late() -> Iterator[Record]:
        made = records(topics, frames[10:])
        yield from made[:5]
        assert transactions._producer is not None
        transactions._producer.flush()
        late.arrive()
        wait_until(lambda: len(rows(topics)) == seen + 5)
        yield from made[5:]

    with pytest.raises(SinkUnavailable):
        transactions.commit(with_late(), next_offsets(frames), now)
    late.close()
    assert len(rows(topics)) == seen + 5
    places = {(topics.name, each.position.partition) for each in frames}
    transactions.open()
    offsets = committed(member.seat.source, member.seat.group, places)
    assert sum(offsets.values()) == sum(next_offsets(frames[:10]).values())
