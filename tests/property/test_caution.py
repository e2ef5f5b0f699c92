from __future__ import annotations

import random
from collections import deque
from collections.abc import Collection

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.commit import Partition
from pipeline.source.base import NoProgress
from pipeline.source.kafka.caution import Caution
from pipeline.source.kafka.suspicion import Mark
from pipeline.types import Frame
from tests.frames import frame

TOPICS = ("a", "b")
ROOM = 4
RANDOM = st.randoms(use_true_random=False)
DEADLY = st.sets(st.tuples(st.sampled_from(TOPICS), st.integers(0, 11)), max_size=2)


class InFlight(NoProgress):
    """Which frames are out."""

    def __init__(self) -> None:
        self.out: list[Frame] = []

    def in_flight_of(self, partitions: Collection[Partition] | None) -> int:
        wanted = [(each, 0) for each in TOPICS] if partitions is None else partitions
        return sum((each.position.topic, 0) in wanted for each in self.out)


class Group:
    """Two partitions with the committed offset and metadata of each, and workers that die."""

    def __init__(
        self, deadly: set[tuple[str, int]], length: int, *, share_refused: float = 0.0
    ) -> None:
        self.deadly = deadly
        self.share_refused = share_refused
        self.length = length
        self.committed = dict.fromkeys(TOPICS, (0, ""))
        self.done: dict[tuple[str, int], str] = {}
        self.deaths = 0

    def live(self, rng: random.Random, *, is_killed: bool) -> list[tuple[str, int]]:
        """A worker's life, up to its death or the end of the logs; gives what was out then."""
        progress = InFlight()
        caution = Caution(progress, is_on=True)
        for topic, (_, text) in self.committed.items():
            caution.meet((topic, 0), 1, Mark.parse(text), self.length)
        carried = deque(
            frame(offset, topic)
            for offset in range(self.length)
            for topic in TOPICS
            if offset >= self.committed[topic][0]
        )
        kill_after = rng.randint(0, 6) if is_killed else None
        steps = 0
        while carried or progress.out:
            chosen, first = caution.choose(carried, ROOM)
            if rng.random() >= self.share_refused:
                for (topic, _), (offset, text) in caution.marks(first).items():
                    self.commit(topic, offset, text)
                caution.note_taken(first)
            elif caution.is_on_guard and first:  # as the consumer does it
                carried.extendleft(reversed(chosen))
                continue
            progress.out += chosen
            if kill_after is not None and steps >= kill_after and progress.out:
                return self.die(progress)
            steps += 1
            if any(self.kills(each) for each in progress.out):
                return self.die(progress)
            self.finish(caution, progress, rng.randint(1, ROOM))
        return []

    def commit(self, topic: str, offset: int, text: str) -> None:
        assert offset >= self.committed[topic][0]
        assert all((topic, each) in self.done for each in range(offset))
        self.committed[topic] = (offset, text)

    def kills(self, each: Frame) -> bool:
        return each.defect is None and (each.stream, each.position.offset) in self.deadly

    def die(self, progress: InFlight) -> list[tuple[str, int]]:
        self.deaths += 1
        return [(each.stream, each.position.offset) for each in progress.out]

    def finish(self, caution: Caution, progress: InFlight, count: int) -> None:
        for each in progress.out[:count]:
            outcome = "scored" if each.defect is None else "rejected"
            self.done[each.stream, each.position.offset] = outcome
        finished, progress.out = progress.out[:count], progress.out[count:]
        for each in finished:
            topic, next_offset = each.stream, each.position.offset + 1
            self.commit(topic, next_offset, caution.metadata((topic, 0), next_offset))


@settings(max_examples=100, deadline=None)
@given(DEADLY, RANDOM)
def test_frames_that_kill_are_rejected_and_no_others(
    deadly: set[tuple[str, int]], rng: random.Random
) -> None:
    group = Group(deadly, 12)
    # Five for each: two in company, two alone, one that nobody counted. And one wherever the group
    # got on before it died, which starts the count again.
    while group.live(rng, is_killed=False):
        assert group.deaths <= 5 * len(deadly) + 2 * 12
    everything = {(topic, offset) for topic in TOPICS for offset in range(12)}
    assert set(group.done) == everything
    assert {each for each, outcome in group.done.items() if outcome == "rejected"} == deadly


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 8), RANDOM)
def test_who_kills_workers_by_hand_gets_no_frame_rejected_that_was_not_alone(
    kills: int, rng: random.Random
) -> None:
    group = Group(set(), 12)
    alone: list[tuple[str, int]] = []
    for _ in range(kills):
        out = group.live(rng, is_killed=True)
        alone += out if len(out) == 1 else []
    group.live(rng, is_killed=False)
    rejected = [each for each, outcome in group.done.items() if outcome == "rejected"]
    assert set(rejected) <= set(alone)
    assert len(group.done) == 24


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 8), RANDOM)
def test_where_the_group_refuses_marks_nothing_is_committed_that_is_not_done(
    kills: int, rng: random.Random
) -> None:
    group = Group(set(), 24, share_refused=0.5)
    for _ in range(kills):
        group.live(rng, is_killed=True)
    group.live(rng, is_killed=False)
    assert len(group.done) == 48
