"""Partitions are given up where they are read: what is in flight of them is dropped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from kafka import TopicPartition

from pipeline.sink.kafka import KafkaSink, _Answer, _Sent
from pipeline.source.kafka.assignment import Assignment
from pipeline.types import Outcome, Position
from tests.faults.planted import replace

_revoked = Assignment.on_partitions_revoked
_write = KafkaSink.write
_dropped: set[tuple[str, int, int]] = set()


async def _on_partitions_revoked(self: Assignment, revoked: Iterable[TopicPartition]) -> None:
    journal: Any = self._progress
    leaving = list(revoked)
    for topic, number in leaving:
        assignment = journal._ledger._assignments.get((topic, number))
        for offset in list(assignment.pending) if assignment else ():
            _dropped.add((topic, number, offset))
            journal._ledger.finish(Position(topic, number, offset, assignment.generation))
    await _revoked(self, leaving)


def _write_the_rest(self: KafkaSink, outcomes: Sequence[Outcome]) -> None:
    kept = []
    for outcome in outcomes:
        at = outcome.frame.position
        if (at.topic, at.partition, at.offset) in _dropped:
            self._outstanding[at] = _Sent(outcome, self._round, self._clock.monotonic(), 0)
            self._answers.append(_Answer(self._round, at, None))
        else:
            kept.append(outcome)
    _write(self, kept)


def plant() -> None:
    replace(Assignment, "on_partitions_revoked", _on_partitions_revoked)
    replace(KafkaSink, "write", _write_the_rest)
