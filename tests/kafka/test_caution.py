"""What a group remembers of frames that were taken, and of which nobody said what became."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaTimeoutError
from kafka.structs import OffsetAndMetadata

from pipeline.source.kafka.suspicion import Mark
from pipeline.types import Frame
from tests.kafka.member import Member
from tests.kafka.topics import Topics
from tests.support import wait_until

pytestmark = pytest.mark.kafka


def marks(topics: Topics) -> dict[int, tuple[int, Mark]]:
    """What is committed, and what is remembered beside it; only of partitions with a commit."""

    def ask(consumer: KafkaConsumer, at: list[TopicPartition]) -> dict[int, tuple[int, Mark]]:
        found = {each.partition: consumer.committed(each, metadata=True) for each in at}
        return {
            number: (there.offset, Mark.parse(there.metadata))
            for number, there in found.items()
            if there is not None
        }

    return topics._ask(topics.name, ask)


def remember(topics: Topics, mark: Mark, offset: int = 0) -> None:
    """What workers that died would have left behind, of all partitions."""
    consumer = KafkaConsumer(
        bootstrap_servers=topics.servers, group_id=topics.name, enable_auto_commit=False
    )
    at = [TopicPartition(topics.name, number) for number in range(4)]
    consumer.assign(at)
    consumer.commit({each: OffsetAndMetadata(offset, mark.text(), -1) for each in at})
    consumer.close(autocommit=False)


def until_some(member: Member) -> Sequence[Frame]:
    """Polls with room for many until something comes."""
    got: list[Frame] = []
    wait_until(lambda: got.extend(member.poll(32)) or got, 30)
    return got


def test_frames_are_marked_before_they_are_out_and_a_good_end_takes_the_marks_back(
    topics: Topics,
) -> None:
    topics.send_pictures(40)
    with Member(topics) as member:
        frames = member.read(40)
        assert marks(topics) == {
            number: (0, Mark(together=1)) for number in {each.position.partition for each in frames}
        }
    assert {mark for _, mark in marks(topics).values()} == {Mark()}


def test_the_end_of_a_process_that_its_frames_broke_leaves_the_marks(topics: Topics) -> None:
    topics.send_pictures(40)
    with Member(topics) as member:
        member.read(40)
        member.journal.die()
    assert {mark for _, mark in marks(topics).values()} == {Mark(together=1)}


def test_a_mark_after_one_that_was_refused_passes_over_nothing(
    topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames go out without one where nobody has died; later ones must not commit them."""
    topics.send_pictures(50, streams=1)
    commit = KafkaConsumer.commit
    refusals = [KafkaTimeoutError("the coordinator is slow")]

    def slow_once(*arguments: Any, **more: Any) -> None:
        if refusals:
            raise refusals.pop()
        commit(*arguments, **more)

    monkeypatch.setattr(KafkaConsumer, "commit", slow_once)
    with Member(topics) as member:
        member.read(20, room=10)
        assert not refusals
        assert topics.committed() == 0
    assert topics.committed() == 0


def test_what_is_finished_leaves_no_mark(topics: Topics) -> None:
    topics.send_pictures(40)
    remember(topics, Mark(together=1))
    with Member(topics) as member:
        member.finish(member.read(40))
    assert topics.committed() == 40
    assert {mark for _, mark in marks(topics).values()} <= {Mark(), Mark(together=1)}
    assert all(mark == Mark() for offset, mark in marks(topics).values() if offset)


def test_after_two_deaths_frames_go_one_at_a_time_and_what_kills_alone_is_rejected_unread(
    topics: Topics,
) -> None:
    sent = topics.send_pictures(20, streams=0)
    remember(topics, Mark(together=2))
    with Member(topics) as member:
        (first,) = until_some(member)
        assert member.poll(32) == []
        assert member.poll(32) == []
        there = first.position
        alone = marks(topics)[there.partition]
        assert alone[0] == 0
        assert (alone[1].together, alone[1].alone) == (2, 1)
        assert first.defect is None
        member.journal.die()  # the third death
    with Member(topics) as member:
        seen = {}
        while len(seen) < len(sent):
            frames = until_some(member)
            assert len(frames) == 1
            seen[frames[0].frame_id] = frames[0]
            member.finish(frames)
    rejected = [each for each in seen.values() if each.defect is not None]
    assert [each.frame_id for each in rejected] == [first.frame_id]
    assert rejected[0].defect_reason == "unfinished"
    assert rejected[0].payload == first.payload
    assert topics.committed() == len(sent)
