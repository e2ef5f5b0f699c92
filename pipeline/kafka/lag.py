"""How far a consumer group is: members, lag, age and loss, from what Kafka says of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from pipeline.kafka.address import KafkaAddress


@dataclass(frozen=True, slots=True)
class Bounds:
    """A partition's log: its first record's offset, and the next one that will be written."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Member:
    """One consumer of a group, and which partitions of the topic are its."""

    id: str
    client_id: str
    host: str
    partitions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """A group's state in Kafka's words (Stable, Empty, Dead, …), and its members."""

    name: str
    state: str
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One partition: its log, the group's commit, and the offset at which a worker would go on.

    ``age_s`` is how long ago the record there was written; None where there is none, or it says no
    time.
    """

    partition: int
    bounds: Bounds
    committed: int | None
    next_offset: int
    age_s: float | None = None

    @property
    def lag(self) -> int:
        """Records that the group has before it."""
        return self.bounds.end - self.next_offset

    @property
    def lost(self) -> int:
        """Records that were deleted before the group came to them."""
        return 0 if self.committed is None else max(0, self.bounds.start - self.committed)

    def to_json(self) -> dict[str, object]:
        """As ``headrace status --json`` shows it."""
        return {
            "partition": self.partition,
            "start": self.bounds.start,
            "committed": self.committed,
            "end": self.bounds.end,
            "lag": self.lag,
            "lost": self.lost,
            "age_s": self.age_s,
        }


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """The topic of rejected frames, and how many records it holds."""

    topic: str
    records: int


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """How far a group is on a topic. ``dead_letters`` is None where there is no such topic."""

    address: KafkaAddress
    group: Group
    partitions: tuple[PartitionStatus, ...]
    dead_letters: DeadLetters | None

    @property
    def lag(self) -> int:
        """Records before the group, in all partitions."""
        return sum(each.lag for each in self.partitions)

    @property
    def lost(self) -> int:
        """Records deleted before the group came to them, in all partitions."""
        return sum(each.lost for each in self.partitions)

    @property
    def max_age_s(self) -> float | None:
        """The age of the oldest record before the group; None where there is none."""
        ages = [each.age_s for each in self.partitions if each.age_s is not None]
        return max(ages, default=None)

    def to_json(self) -> dict[str, object]:
        """As ``headrace status --json`` shows it."""
        letters = self.dead_letters
        return {
            "topic": self.address.topic,
            "group": self.group.name,
            "state": self.group.state,
            "members": [
                {
                    "id": each.id,
                    "client_id": each.client_id,
                    "host": each.host,
                    "partitions": list(each.partitions),
                }
                for each in self.group.members
            ],
            "partitions": [each.to_json() for each in self.partitions],
            "lag": self.lag,
            "lost": self.lost,
            "max_age_s": self.max_age_s,
            "dead_letters": None
            if letters is None
            else {"topic": letters.topic, "records": letters.records},
        }


def statuses(
    bounds: Mapping[int, Bounds],
    committed: Mapping[int, int],
    start: Literal["earliest", "latest"],
) -> tuple[PartitionStatus, ...]:
    """Joins a topic's logs with a group's commits; ``start`` is where the group begins without a
    commit, as its source's URL says."""
    return tuple(
        PartitionStatus(
            number,
            bounds[number],
            committed.get(number),
            _next_offset(bounds[number], committed.get(number), start),
        )
        for number in sorted(bounds)
    )


def _next_offset(bounds: Bounds, committed: int | None, start: str) -> int:
    """A commit that isn't in the log any more counts as none: retention overtook the group, or
    the topic was deleted and made anew."""
    if committed is not None and bounds.start <= committed <= bounds.end:
        return committed
    return bounds.start if start == "earliest" else bounds.end


def with_ages(
    partitions: Iterable[PartitionStatus], written_at: Mapping[int, float], now_unix_s: float
) -> tuple[PartitionStatus, ...]:
    """Adds the ages, from when the next record of each partition was written, in Unix seconds. A
    producer's clock that is ahead of ours makes no negative ages."""
    return tuple(
        each
        if each.partition not in written_at
        else replace(each, age_s=round(max(0.0, now_unix_s - written_at[each.partition]), 3))
        for each in partitions
    )
