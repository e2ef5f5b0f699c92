"""Partitions are given up where they are read: what is in flight of them is dropped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata

from pipeline.source.kafka.assignment import Assignment
from tests.faults.planted import replace


async def _on_partitions_revoked(self: Assignment, revoked: Iterable[TopicPartition]) -> None:
    leaving = list(revoked)
    assignment: Any = self._consumer._subscription.assignment
    read_to = {
        each: OffsetAndMetadata(assignment[each].position.offset, "", -1)
        for each in leaving
        if assignment[each].position is not None
    }
    if read_to:
        await self._consumer.commit_async(read_to)
    self._drop((each.topic, each.partition) for each in leaving)


def plant() -> None:
    replace(Assignment, "on_partitions_revoked", _on_partitions_revoked)
