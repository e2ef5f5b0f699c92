"""Transactions of one slot: records and a group's offsets, all of them or none."""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import (
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    TransactionalIdNotFoundError,
)
from kafka.structs import ConsumerGroupMetadata, OffsetAndMetadata

from pipeline.clock import Clock
from pipeline.commit import Partition
from pipeline.errors import SinkUnavailable, SourceUnavailable, StageFailed
from pipeline.kafka.address import KafkaAddress
from pipeline.kafka.connection import (
    close_producer,
    connect_admin,
    connection_options,
    kafka_errors,
    make_producer,
)

if TYPE_CHECKING:
    from kafka import KafkaProducer, RecordMetadata
    from kafka.future import Future

log = logging.getLogger(__name__)

_DELIVER_WITHIN_S = 8.0
"""Half of a transaction's time: what isn't acknowledged by then is written again in a new one."""
_TIME_OUTS_MS = range(14_000, 16_000)
"""A transaction that is open for so long is aborted by the broker. Shorter than its default of a
minute: readers of what is committed wait behind a transaction whose worker was killed."""
_ANSWER_WITHIN_MS = 10_000
_RETRY_BACKOFF_MS = 20
"""A transaction begins by being refused while the one before it is being written out. With
kafka-python's default of 100 each took 120 ms (measured)."""
_REMEMBERED_MARKS = 16
"""A producer that didn't hear back may have been made all the same, and so may some before it."""
_SUSPICIOUS_S = 0.5
"""A transaction that took so long may have had a request sent twice, over two connections. The
first may still come, and an epoch of its own for the next transaction keeps it out of that."""


@dataclass(frozen=True, slots=True)
class Record:
    """A record of a transaction, for one of its topics."""

    topic: str
    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes]]


class Transactions:
    """Commits one transaction after the other, under one transactional id.

    kafka-python reports a transaction as committed though records of it expired (3.0.12): so all
    are waited for before. Its calls have no time-outs, which is for the watchdog to see. After any
    failure the producer is of no use, and whether the transaction was committed isn't known: then
    ``open`` again, which ends what was open, and the group's offsets tell (``committed``).

    Owned by: the sink thread.
    """

    def __init__(self, address: KafkaAddress, transactional_id: str, clock: Clock) -> None:
        self._address = address
        self._id = transactional_id
        self._clock = clock
        self._producer: KafkaProducer | None = None
        self._marks_ms: deque[int] = deque(maxlen=_REMEMBERED_MARKS)
        self._is_suspicious = False

    @property
    def is_open(self) -> bool:
        """Whether a transaction may begin."""
        return self._producer is not None and not self._is_suspicious

    def open(self) -> None:
        """Makes a producer that fences all before it, and ends the transaction that one of them
        left. Blocks for half a minute at the most.

        Raises:
            StageFailed: after the first time: another worker has taken the slot.
            SinkUnavailable: the cluster doesn't answer.
            ConfigError: not allowed.
        """
        self.close()
        if self._marks_ms:
            self._require_ours()
        # Random, so that the broker can tell whose the newest producer is.
        self._marks_ms.append(random.Random().choice(_TIME_OUTS_MS))
        with kafka_errors(self._address, SinkUnavailable):
            producer = make_producer(
                self._address,
                _DELIVER_WITHIN_S,
                transactional_id=self._id,
                transaction_timeout_ms=self._marks_ms[-1],
                compression_type="lz4",
                max_block_ms=_ANSWER_WITHIN_MS,
                retry_backoff_ms=_RETRY_BACKOFF_MS,
            )
            try:
                producer.init_transactions()
            except KafkaError:
                close_producer(producer, flush_s=0.0)
                raise
        self._producer, self._is_suspicious = producer, False

    def commit(
        self,
        records: Iterable[Record],
        next_offsets: Mapping[Partition, int],
        member: ConsumerGroupMetadata,
    ) -> None:
        """Writes records and commits the offsets of ``member``'s group, together. Blocks until that
        is done; for ever, where the library does.

        Raises:
            StageFailed: a record is too large.
            SinkUnavailable: it isn't known to be committed: ``open`` again, which also finds out
                whether another worker has taken the slot.
        """
        producer, began_mono_s = self._opened(), self._clock.monotonic()
        try:
            with kafka_errors(self._address, SinkUnavailable):
                self._commit(producer, records, next_offsets, member)
        except SinkUnavailable as error:
            self.close()
            if isinstance(error.__cause__, MessageSizeTooLargeError):
                raise StageFailed(
                    f"{self._address}: a record is larger than its topic takes; raise the topic's"
                    " max.message.bytes (16777216 takes every frame)"
                ) from error
            raise
        self._is_suspicious = self._clock.monotonic() - began_mono_s > _SUSPICIOUS_S

    def _commit(
        self,
        producer: KafkaProducer,
        records: Iterable[Record],
        next_offsets: Mapping[Partition, int],
        member: ConsumerGroupMetadata,
    ) -> None:
        epoch = _epoch(producer)
        producer.begin_transaction()
        futures = [
            producer.send(each.topic, key=each.key, value=each.value, headers=each.headers)
            for each in records
        ]
        producer.flush(timeout=_DELIVER_WITHIN_S)
        _require_all(futures)
        producer.send_offsets_to_transaction(
            {
                TopicPartition(*partition): OffsetAndMetadata(offset, "", -1)
                for partition, offset in next_offsets.items()
            },
            member,
        )
        producer.commit_transaction()
        # A commit during which the library changes its epoch succeeds without being sent.
        if _epoch(producer) != epoch:
            raise KafkaError("the producer's epoch changed during a transaction")

    def close(self) -> None:
        """Lets go of the producer. What was under way is ended by the next ``open``, or by the
        broker within half a minute. Never raises."""
        producer, self._producer = self._producer, None
        if producer is not None:
            close_producer(producer, flush_s=0.0)

    def _opened(self) -> KafkaProducer:
        if self._producer is None:
            raise SinkUnavailable(f"{self._address}: no transaction can begin")
        return self._producer

    def _require_ours(self) -> None:
        """Asks who used this transactional id last. A producer that is fenced may also be our own,
        whose transaction took too long."""
        try:
            with connect_admin(self._address, request_timeout_ms=_ANSWER_WITHIN_MS) as admin:
                found = admin.describe_transactions([self._id])[self._id]
        except SourceUnavailable as cause:
            if isinstance(cause.__cause__, TransactionalIdNotFoundError):
                return
            raise SinkUnavailable(str(cause)) from cause
        if found.transaction_timeout_ms not in self._marks_ms:
            raise StageFailed(
                f"{self._address}: another worker writes as {self._id!r} since, so this one ends;"
                " give each worker of the group a slot of its own (`slot=` in the source's URL)"
            )


def committed(
    address: KafkaAddress, group: str, partitions: Iterable[Partition]
) -> dict[Partition, int]:
    """What a group has committed of these partitions, once no transaction is pending on them.
    Blocks for ten seconds a partition at the most.

    Raises:
        SinkUnavailable: the cluster doesn't answer, or a transaction stays open.
    """
    found: dict[Partition, int] = {}
    with kafka_errors(address, SinkUnavailable):
        consumer = KafkaConsumer(
            **connection_options(address),
            metrics_enabled=False,
            group_id=group,
            enable_auto_commit=False,
            isolation_level="read_committed",
        )
        try:
            for partition in partitions:
                offset = consumer.committed(
                    TopicPartition(*partition), timeout_ms=_ANSWER_WITHIN_MS
                )
                found[partition] = offset or 0
        finally:
            consumer.close(autocommit=False)
    return found


def _require_all(futures: Iterable[Future[RecordMetadata]]) -> None:
    """Raises the error of a record that wasn't acknowledged."""
    for future in futures:
        if not future.succeeded():
            raise future.exception or KafkaTimeoutError("a record wasn't acknowledged")


def _epoch(producer: KafkaProducer) -> tuple[int, int]:
    now = producer._transaction_manager.producer_id_and_epoch
    return now.producer_id, now.epoch
