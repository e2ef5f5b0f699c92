"""A model of a consumer group around the real journal and the real plan of commits.

The broker's side is the plainest there is: a log with holes, one committed offset a partition, and
who owns it. A worker does what the Kafka source and the intake do, in their order, without a
client.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from pipeline.clock import ManualClock
from pipeline.commit import Partition
from pipeline.credits import Credits
from pipeline.journal import Journal
from pipeline.source.kafka.plan import CommitPlan, Places
from pipeline.source.kafka.watch import PartitionView
from pipeline.types import Frame, Position
from tests.frames import scored

TOPIC = "frames"
MAX_FRAMES = 6

Fate: TypeAlias = Literal["taken", "refused", "taken, unanswered", "lost on its way"]


@dataclass(slots=True)
class Log:
    """A partition on the broker. Between its frames there may be offsets that nobody is given."""

    offsets: list[int] = field(default_factory=list[int])
    end: int = 0
    committed: int = 0
    durable: set[int] = field(default_factory=set[int])
    owner: Worker | None = None

    def produce(self, frames: int, gap: int, markers: int) -> None:
        """Frames with a gap before each, and markers of transactions after the last."""
        for _ in range(frames):
            self.offsets.append(self.end + gap)
            self.end += gap + 1
        self.end += markers

    def next_of(self, position: int, most: int) -> tuple[list[int], int]:
        """Up to ``most`` offsets from ``position`` on, and where reading goes on after them."""
        found = [offset for offset in self.offsets if offset >= position][:most]
        if not found or found[-1] == self.offsets[-1]:
            return found, self.end
        return found, found[-1] + 1


class Worker:
    """One member of the group. ``journal`` and ``plan`` are the real ones."""

    def __init__(self, logs: list[Log], journal: type[Journal], plan: type[CommitPlan]) -> None:
        self.logs = logs
        self.journal = journal(Credits(MAX_FRAMES, 10**6), ManualClock())
        self.plan = plan(TOPIC)
        self.is_member = True
        self.generations: dict[Partition, int] = {}
        self.positions: dict[Partition, int] = {}
        self.carried: deque[Frame] = deque()
        self.undecided: list[Frame] = []
        self._admitted: dict[Partition, list[Position]] = {}
        self._finished: set[Position] = set()
        self.unanswered: list[tuple[Places, bool]] = []
        self._heard: dict[Partition, tuple[int, int]] = {}

    def assign(self, number: int) -> None:
        """The partition is this worker's from now on; it reads from the committed offset."""
        self.logs[number].owner = self
        partition = (TOPIC, number)
        self.generations[partition] = self.generations.get(partition, 0) + 1
        self.positions[partition] = self.logs[number].committed
        self._admitted[partition] = []

    def revoke(self, number: int, fate: Fate) -> None:
        """It is taken away in good order: what is durable is committed first."""
        self._commit(fate, {(TOPIC, number)})
        self.logs[number].owner = None
        self._drop({(TOPIC, number)})

    def be_thrown_out(self) -> None:
        """It was silent for too long. It doesn't know yet, and goes on."""
        self.is_member = False
        for log in self.logs:
            if log.owner is self:
                log.owner = None

    def come_back(self) -> None:
        """It hears of it at last, and joins again."""
        self._drop(set(self.positions))
        self.is_member = True

    def break_off(self, fate: Fate) -> None:
        """The connection breaks within a poll, whatever came before in it. The source is closed,
        commits what it can, and is opened again by a new member."""
        self._commit(fate, set(self.positions))
        self.be_thrown_out()
        self.come_back()

    def end_poll(self) -> None:
        """A poll comes back: what it polled and doesn't own any more is let go."""
        self.plan.forget_idle()
        self.carried = deque(each for each in self.carried if self.is_current(each.position))

    def poll(self, number: int, most: int, *, is_past_markers: bool) -> None:
        """Reads some frames, which aren't handed out yet."""
        partition = (TOPIC, number)
        found, position = self.logs[number].next_of(self.positions[partition], most)
        if found and not is_past_markers:
            position = found[-1] + 1
        self.positions[partition] = position
        for offset in found:
            at = Position(TOPIC, number, offset, self.generations[partition])
            self.carried.append(Frame(at, str(number), b"x", 0.0, 0.0))

    def admit(self) -> None:
        """Hands out what there is room for."""
        frames = [self.carried.popleft() for _ in range(self.journal.room(len(self.carried)))]
        self.journal.admit(frames)
        self.undecided += frames
        for frame in frames:
            self._admitted[TOPIC, frame.position.partition].append(frame.position)

    def finish(self, which: int) -> None:
        """A frame's outcome becomes durable. Where it isn't ours any more, it moves nothing."""
        frame = self.undecided.pop(which)
        before = self.journal.next_offsets()
        self.journal.finish([scored(frame)])
        self._finished.add(frame.position)
        self.logs[frame.position.partition].durable.add(frame.position.offset)
        if not self.is_current(frame.position):
            assert self.journal.next_offsets() == before, "a late outcome moved an offset"

    def look(self) -> None:
        """Once a second: of which partitions nothing is under way."""
        views = [
            PartitionView(number, position, self.logs[number].end)
            for (_, number), position in self.positions.items()
        ]
        busy = {each for each in self.positions if self.journal.in_flight_of([each])}
        carried = {(each.position.topic, each.position.partition) for each in self.carried}
        self.plan.note_idle(views, busy | carried)

    def commit(self, fate: Fate) -> None:
        """Commits what is news of all that it owns."""
        self._commit(fate, set(self.positions))

    def hear_late(self, which: int) -> None:
        """The answer to an old commit comes after all."""
        self._hear(*self.unanswered.pop(which))

    def is_current(self, at: Position) -> bool:
        """Whether a frame is of its partition's present assignment."""
        partition = (at.topic, at.partition)
        return partition in self.positions and self.generations[partition] == at.generation

    def check(self) -> None:
        """The journal's answers are those of the plainest reckoning."""
        assert self.journal.counts().in_flight == len(self.undecided)
        assert self.journal.room(MAX_FRAMES) == MAX_FRAMES - len(self.undecided)
        done: dict[Partition, int] = {}
        for partition in self.positions:
            admitted = self._admitted[partition]
            without = [at for at in admitted if at not in self._finished]
            assert self.journal.in_flight_of([partition]) == len(without)
            before = [at for at in admitted if not without or at.offset < without[0].offset]
            if before:
                done[partition] = before[-1].offset + 1
        assert self.journal.next_offsets() == done

    def _commit(self, fate: Fate, partitions: set[Partition]) -> None:
        """A member that was thrown out is refused, whatever the fate."""
        ours = {each: self.generations[each] for each in partitions}
        news = self.plan.news(ours, self.journal.next_offsets())
        for partition, place in news.items():
            assert place > self._heard.get(partition, (0, -1)), f"{place} is committed already"
        is_taken = self.is_member and fate.startswith("taken")
        for (_, number), (_, offset) in news.items():
            if is_taken:
                log = self.logs[number]
                assert offset >= log.committed, f"back from {log.committed} to {offset}"
                log.committed = offset
        if fate in ("taken", "refused"):
            self._hear(news, is_taken)
        elif news:
            self.unanswered.append((news, is_taken))

    def _hear(self, news: Places, is_taken: bool) -> None:
        if is_taken:
            self.plan.note_done(news)
            for partition, place in news.items():
                self._heard[partition] = max(place, self._heard.get(partition, place))

    def _drop(self, partitions: set[Partition]) -> None:
        self.journal.revoke(partitions)
        self.plan.forget_idle()
        for partition in partitions:
            del self.positions[partition]
