"""A plain rebalance listener that commits, as the client's own documentation shows it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.structs import OffsetAndMetadata

from pipeline.source.kafka.assignment import Assignment
from tests.faults.planted import replace

_subscribe = KafkaConsumer.subscribe


class _Listener(ConsumerRebalanceListener):
    def __init__(self, consumer: KafkaConsumer, assignment: Assignment) -> None:
        self._consumer = consumer
        self._assignment = assignment

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        coroutine = self._assignment.on_partitions_assigned(assigned)
        with contextlib.suppress(StopIteration):
            coroutine.send(None)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        leaving = {(each.topic, each.partition) for each in revoked}
        done = self._assignment._progress.next_offsets()
        self._consumer.commit(
            {
                TopicPartition(*partition): OffsetAndMetadata(done[partition], "", -1)
                for partition in leaving & done.keys()
            }
        )
        self._assignment._drop(leaving)


def _subscribe_plainly(self: KafkaConsumer, topics: list[str], listener: Any) -> None:
    _subscribe(self, topics, listener=_Listener(self, listener))


def plant() -> None:
    replace(KafkaConsumer, "subscribe", _subscribe_plainly)
