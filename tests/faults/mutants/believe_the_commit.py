"""A transaction is committed without a look at what became of its records."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping

from kafka import KafkaProducer, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import ConsumerGroupMetadata, OffsetAndMetadata

from pipeline.commit import Partition
from pipeline.kafka.transactions import Record, Transactions
from tests.faults.planted import replace


def _commit(
    self: Transactions,
    producer: KafkaProducer,
    records: Iterable[Record],
    next_offsets: Mapping[Partition, int],
    member: ConsumerGroupMetadata,
) -> None:
    producer.begin_transaction()
    for each in records:
        producer.send(each.topic, key=each.key, value=each.value, headers=each.headers)
    with contextlib.suppress(KafkaError):
        producer.flush(timeout=30)
    offsets = {
        TopicPartition(*partition): OffsetAndMetadata(offset, "", -1)
        for partition, offset in next_offsets.items()
    }
    producer.send_offsets_to_transaction(offsets, member)
    producer.commit_transaction()


def plant() -> None:
    replace(Transactions, "_commit", _commit)
