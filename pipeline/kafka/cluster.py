"""What a cluster is asked from outside: topics, ends, and groups, without being a member of one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from kafka import KafkaAdminClient, TopicPartition
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    LeaderNotAvailableError,
    MetadataEmptyBrokerList,
    NotCoordinatorError,
    UnknownBrokerIdError,
)
from kafka.structs import OffsetAndMetadata

from pipeline.errors import ConfigError, SourceUnavailable
from pipeline.kafka.address import KafkaAddress
from pipeline.kafka.connection import connect_admin, kafka_errors
from pipeline.kafka.lag import Bounds, Group, Member

T = TypeVar("T")

_EARLIEST, _LATEST = -2, -1
"""Kafka's own numbers for both ends of a log, in place of a time."""
_NOBODY_YET = (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    LeaderNotAvailableError,
    MetadataEmptyBrokerList,
    NotCoordinatorError,
    UnknownBrokerIdError,
)
"""A new cluster makes its list of offsets only when it is asked; one whose broker was away for a
moment has no leaders for the next, which kafka-python takes for a broker of the number -1."""
_SOMEBODY_WITHIN_S = 10.0
_TRY_EVERY_S = 0.2
_ANSWER_WITHIN_MS = 10_000
"""A third of kafka-python's default: somebody waits for the answer, or for an end after Ctrl-C."""


@dataclass(frozen=True, slots=True)
class Committed:
    """A group's place in a partition, and the note that was committed with it."""

    offset: int
    note: str = ""


class Cluster:
    """Answers about one cluster. Nothing here joins a group. Owned by: who opened it.

    Every call blocks for some seconds at the most and raises ``SourceUnavailable`` if the cluster
    doesn't answer, ``ConfigError`` if it doesn't allow it.
    """

    def __init__(self, admin: KafkaAdminClient, address: KafkaAddress) -> None:
        self._admin = admin
        self._address = address

    def topics(self) -> dict[str, list[int]]:
        """All topics that may be seen, each with the numbers of its partitions."""
        return {
            topic["name"]: sorted(each["partition_index"] for each in topic["partitions"])
            for topic in self._ask(self._admin.describe_topics)
        }

    def bounds(self, topic: str, partitions: Iterable[int]) -> dict[int, Bounds]:
        """Where the log of each partition begins and ends now."""
        numbers = list(partitions)
        starts = self._offsets(topic, numbers, _EARLIEST)
        ends = self._offsets(topic, numbers, _LATEST)
        return {number: Bounds(starts[number], ends[number]) for number in numbers}

    def offsets_at(self, topic: str, partitions: Iterable[int], unix_s: float) -> dict[int, int]:
        """The first offset of each partition whose record isn't older; -1 where there is none."""
        return self._offsets(topic, list(partitions), round(unix_s * 1000))

    def _offsets(self, topic: str, partitions: list[int], when: int) -> dict[int, int]:
        asked = {TopicPartition(topic, number): when for number in partitions}
        found = self._ask(lambda: self._admin.list_partition_offsets(asked)) if asked else {}
        return {at.partition: each.offset for at, each in found.items()}

    def committed(self, group: str, topic: str, partitions: Iterable[int]) -> dict[int, Committed]:
        """What a group has committed; partitions without a commit are left out."""
        asked = [TopicPartition(topic, number) for number in partitions]
        found = self._ask(lambda: self._admin.list_group_offsets({group: asked}))
        return {
            at.partition: Committed(each.offset, each.metadata or "")
            for at, each in found.get(group, {}).items()
            if each.offset >= 0
        }

    def commit(self, group: str, topic: str, places: Mapping[int, Committed]) -> None:
        """Commits for a group that has no members.

        Raises:
            SourceUnavailable: a partition wasn't taken.
        """
        offsets = {
            TopicPartition(topic, number): OffsetAndMetadata(place.offset, place.note, -1)
            for number, place in places.items()
        }
        results = self._ask(lambda: self._admin.alter_group_offsets(group, offsets))
        refused = [error for error in results.values() if getattr(error, "errno", 0)]
        if refused:
            raise SourceUnavailable(
                f"{self._address}: group {group!r} can't commit: {refused[0].__name__}"
            )

    def group(self, name: str) -> Group:
        """Who is in a group. One that isn't there has no members, and Kafka calls it Dead."""
        described = self._ask(lambda: self._admin.describe_groups([name]))[name]
        error = described["error"] or ""
        if "AuthorizationFailed" in error:
            raise ConfigError(f"{self._address}: not allowed to see group {name!r} ({error})")
        if error and "GroupIdNotFound" not in error:
            raise SourceUnavailable(f"{self._address}: group {name!r}: {error}")
        members = [_member(each, self._address.topic) for each in described["members"]]
        return Group(
            name,
            described["group_state"],
            tuple(sorted(members, key=lambda member: (member.partitions or (1 << 31,), member.id))),
        )

    def _ask(self, ask: Callable[[], T]) -> T:
        """Asks until somebody is in charge."""
        deadline = time.monotonic() + _SOMEBODY_WITHIN_S
        pause = threading.Event()
        with kafka_errors(self._address):
            while True:
                try:
                    return ask()
                except _NOBODY_YET:
                    if time.monotonic() > deadline:
                        raise
                pause.wait(_TRY_EVERY_S)


@contextmanager
def open_cluster(address: KafkaAddress) -> Iterator[Cluster]:
    """Connects. Blocks for up to ten seconds.

    Raises:
        SourceUnavailable: the cluster doesn't answer.
    """
    with connect_admin(address, request_timeout_ms=_ANSWER_WITHIN_MS) as admin:
        yield Cluster(admin, address)


def _member(described: Mapping[str, Any], topic: str) -> Member:
    """A member that has just joined has no assignment yet; what isn't decoded is bytes."""
    assignment = described["member_assignment"]
    partitions: list[int] = []
    if isinstance(assignment, dict):
        for each in assignment["assigned_partitions"]:
            partitions += each["partitions"] if each["topic"] == topic else ()
    return Member(
        id=described["member_id"],
        client_id=described["client_id"],
        host=described["client_host"].lstrip("/"),
        partitions=tuple(sorted(partitions)),
    )
