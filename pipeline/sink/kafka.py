"""The Kafka sink: rows, or dead letters, each looked after until the broker has acknowledged it."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from kafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError
from msgspec import Struct

from pipeline.clock import Clock
from pipeline.errors import ConfigError, SinkUnavailable, SourceUnavailable, StageFailed
from pipeline.kafka.address import KafkaAddress
from pipeline.kafka.connection import (
    close_producer,
    create_topic,
    has_topic,
    kafka_errors,
    make_producer,
    require_crc32c,
)
from pipeline.kafka.record import MAX_RECORD_BYTES
from pipeline.sink.records import Outgoing
from pipeline.types import Outcome, Position

if TYPE_CHECKING:
    from kafka import KafkaProducer, RecordMetadata
    from kafka.future import Future

log = logging.getLogger(__name__)

_DELIVER_WITHIN_S = 300.0
"""Longer than an outage that a worker should sit out. Once a batch that was sent has expired,
kafka-python's idempotent producer never delivers anything again."""
_OVERDUE_AFTER_S = 15.0
"""A future that isn't resolved so long after its time never will be: the producer is wedged."""
_RENEWED_AFTER_S = 5.0
"""A producer keeps the password and certificate that it was made with, and is of no use once the
broker wants newer ones. It doesn't say so (3.0.12): what isn't acknowledged for so long does."""
_METADATA_WITHIN_MS = 10_000
_BATCH_BYTES = 256 * 1024


class _Answer(Struct, frozen=True):
    """What became of a record. ``round`` counts the producers of a sink."""

    round: int
    position: Position
    error: BaseException | None


class _Sent(Struct, frozen=True, gc=False):
    """A record that is on its way, with the bytes of its key and value."""

    outcome: Outcome
    round: int
    at_mono_s: float
    size_bytes: int


class KafkaSink:
    """Writes a record for each outcome: idempotent, acknowledged by all replicas in sync, in each
    key's order. See ``Sink``.

    kafka-python buffers without a limit; here it never holds more than the frames in flight. After
    a failure the producer is made anew, as it may be wedged for good, and all that wasn't
    acknowledged is written again: such rows can be there twice, under the same ``ce_id``.

    ``form`` makes a record of an outcome; a missing topic is made with ``create_partitions``, if
    that is above 0; with ``is_lazy`` all that waits for the first record. What isn't acknowledged
    within ``deliver_within_s`` has failed.

    Owned by: the sink thread; acknowledgements arrive on kafka-python's own.
    """

    def __init__(
        self,
        address: KafkaAddress,
        form: Callable[[Outcome], Outgoing],
        clock: Clock,
        *,
        create_partitions: int = 0,
        is_lazy: bool = False,
        deliver_within_s: float = _DELIVER_WITHIN_S,
    ) -> None:
        self._address = address
        self._form = form
        self._clock = clock
        self._create_partitions = create_partitions
        self._is_lazy = is_lazy
        self._deliver_within_s = deliver_within_s
        self._producer: KafkaProducer | None = None
        self._round = 0
        self._outstanding: dict[Position, _Sent] = {}
        self._in_flight_bytes = 0
        self._answers: deque[_Answer] = deque()
        self._failure: BaseException | None = None
        self._stamp: tuple[object, ...] = ()
        self._answered = threading.Event()

    @property
    def name(self) -> str:
        """See ``Sink.name``."""
        return str(self._address)

    @property
    def in_flight_bytes(self) -> int:
        """Keys and values handed to the producer, not acknowledged. May be read from any thread."""
        return self._in_flight_bytes

    def open(self) -> None:
        """See ``Sink.open``. Blocks up to twenty seconds; connects later if it is lazy."""
        require_crc32c()
        if not self._is_lazy:
            self._connect()

    def write(self, outcomes: Sequence[Outcome]) -> None:
        """See ``Sink.write``. What is on its way already isn't sent again."""
        producer = self._producer or self._connect()
        now = self._clock.monotonic()
        try:
            for outcome in (*self._lost(), *outcomes):
                self._write_one(producer, outcome, now)
        except SinkUnavailable:
            self._give_up()
            raise

    def _write_one(self, producer: KafkaProducer, outcome: Outcome, now: float) -> None:
        position = outcome.frame.position
        before = self._outstanding.get(position)
        if before is not None and before.round == self._round:
            return
        record = self._form(outcome)
        with kafka_errors(self._address, SinkUnavailable):
            future = self._send(producer, record)
        size_bytes = len(record.key or b"") + len(record.value)
        self._outstanding[position] = _Sent(outcome, self._round, now, size_bytes)
        self._in_flight_bytes += size_bytes
        self._follow(future, position)

    def _lost(self) -> Sequence[Outcome]:
        """What was on its way with a producer that failed at a later write: the caller knows of
        that write alone."""
        oldest = next(iter(self._outstanding.values()), None)
        if oldest is None or oldest.round == self._round:
            return ()
        return [sent.outcome for sent in self._outstanding.values() if sent.round != self._round]

    def collect(self, timeout_s: float) -> Sequence[Outcome]:
        """See ``Sink.collect``."""
        if not self._outstanding:
            return ()
        if not self._answers:
            self._answered.wait(timeout_s)
        self._answered.clear()
        durable: list[Outcome] = []
        while self._answers:
            answer = self._answers.popleft()
            if answer.round != self._round:
                continue  # of a producer that was given up: written again since
            if answer.error is not None:
                self._failure = self._failure or answer.error
            elif sent := self._outstanding.pop(answer.position, None):
                self._in_flight_bytes -= sent.size_bytes
                durable.append(sent.outcome)
        if durable:  # those are safe, whatever became of the others
            return durable
        self._failure = self._failure or self._overdue()
        if self._failure is not None:
            failure = self._failure
            self._give_up()
            self._outstanding.clear()  # the caller writes all again
            if isinstance(failure, MessageSizeTooLargeError):
                raise StageFailed(
                    f"{self.name}: a record is larger than the topic takes, and will be the next"
                    " time; raise its max.message.bytes (16777216 takes every frame)"
                ) from failure
            with kafka_errors(self._address, SinkUnavailable):
                raise failure
        return ()

    def close(self) -> None:
        """See ``Sink.close``."""
        producer, self._producer = self._producer, None
        if producer is not None:
            close_producer(producer)

    def _connect(self) -> KafkaProducer:
        require_topic(self._address, self._create_partitions)
        self._stamp = self._address.access.stamp()
        with kafka_errors(self._address, SinkUnavailable):
            producer = self._producer = make_producer(
                self._address,
                self._deliver_within_s,
                compression_type="lz4",
                batch_size=_BATCH_BYTES,
                max_block_ms=_METADATA_WITHIN_MS,
            )
        return producer

    def _send(self, producer: KafkaProducer, record: Outgoing) -> Future[RecordMetadata]:
        try:
            return producer.send(
                self._address.topic, key=record.key, value=record.value, headers=record.headers
            )
        except MessageSizeTooLargeError as cause:
            raise StageFailed(
                f"{self.name}: a record of {len(record.value)} bytes is larger than the"
                f" {MAX_RECORD_BYTES} that are sent at the most"
            ) from cause

    def _follow(self, future: Future[RecordMetadata], position: Position) -> None:
        """Lets the future tell what became of its record, on kafka-python's thread."""
        round_ = self._round

        def tell(error: BaseException | None) -> None:
            self._answers.append(_Answer(round_, position, error))
            self._answered.set()

        future.add_callback(lambda _: tell(None))
        future.add_errback(tell)

    def _overdue(self) -> KafkaError | None:
        """Why no acknowledgement is to be waited for any longer."""
        oldest = next(iter(self._outstanding.values()), None)
        waited_s = 0.0 if oldest is None else self._clock.monotonic() - oldest.at_mono_s
        if waited_s > self._deliver_within_s + _OVERDUE_AFTER_S:
            return KafkaTimeoutError("no acknowledgement, and none will come")
        if waited_s > _RENEWED_AFTER_S and self._address.access.stamp() != self._stamp:
            return KafkaError("no acknowledgement since the files of [kafka] were renewed")
        return None

    def _give_up(self) -> None:
        """Throws the producer away with all that it hasn't delivered."""
        producer, self._producer = self._producer, None
        if producer is not None:
            close_producer(producer, flush_s=0.0)
        self._round += 1
        self._in_flight_bytes = 0
        self._failure = None


def require_topic(address: KafkaAddress, create_partitions: int) -> None:
    """Makes a missing topic where ``create_partitions`` is above 0. Blocks for up to ten seconds.

    Raises:
        ConfigError: there is no topic, and none is to be made.
        SinkUnavailable: the cluster doesn't answer.
    """
    try:
        if has_topic(address):
            return
        if not create_partitions:
            raise ConfigError(
                f"{address}: there is no topic {address.topic!r}; create it, or let"
                f" '{address}?create=PARTITIONS' do it"
            )
        if create_topic(address, create_partitions):
            log.info("made the topic %s", address.topic)
    except SourceUnavailable as cause:
        raise SinkUnavailable(str(cause)) from cause
