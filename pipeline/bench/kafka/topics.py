"""The topics of one run: frames onto the one, results from the other."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kafka import KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError
from kafka.future import Future
from kafka.structs import TopicPartition

from pipeline.bench.kafka.observed import Result
from pipeline.clock import SystemClock
from pipeline.errors import StageFailed
from pipeline.kafka.address import KafkaAddress
from pipeline.kafka.connection import (
    connect_admin,
    connection_options,
    kafka_errors,
    require_crc32c,
)
from pipeline.kafka.record import MAX_RECORD_BYTES
from pipeline.source.pacing import Pace

if TYPE_CHECKING:
    from kafka import RecordMetadata

STREAMS = 4
"""As many cameras, each with its partition."""
_FLUSH_EVERY = 256
"""kafka-python's ``send`` never blocks: 14 MB of frames at a time, not all of them."""
_SEND_WITHIN_S = 60.0
_READ_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class RunTopics:
    """Where a run's frames and results are."""

    frames: KafkaAddress
    results: KafkaAddress


@contextmanager
def run_topics(servers: tuple[str, ...]) -> Iterator[RunTopics]:
    """Makes both topics under a new name, and deletes them at the end. Results are stamped by the
    broker when it appends them: one clock for all systems.

    Raises:
        ConfigError: not allowed.
        SourceUnavailable: the cluster doesn't answer.
    """
    name = f"headrace-bench-{uuid.uuid4().hex[:8]}"
    topics = RunTopics(KafkaAddress(servers, name), KafkaAddress(servers, f"{name}-results"))
    common = {"max.message.bytes": str(MAX_RECORD_BYTES)}
    by_broker = common | {"message.timestamp.type": "LogAppendTime"}
    with connect_admin(topics.frames) as admin:
        admin.create_topics(
            {
                topics.frames.topic: {"num_partitions": STREAMS, "configs": common},
                topics.results.topic: {"num_partitions": STREAMS, "configs": by_broker},
            },
            wait_for_metadata=True,
        )
    try:
        yield topics
    finally:
        with connect_admin(topics.frames) as admin:
            there = set(admin.list_topics())
            ours = (topics.frames, topics.results, topics.frames.dead_letters)
            admin.delete_topics([each.topic for each in ours if each.topic in there])


class Sender:
    """Sends pictures as four cameras would, each record at once. Owned by: one thread at a time."""

    def __init__(self, address: KafkaAddress, pictures: Sequence[bytes]) -> None:
        require_crc32c()
        self._topic = address.topic
        self._pictures = pictures
        self._sent = 0
        self._address = address
        with kafka_errors(address, StageFailed):
            self._producer = KafkaProducer(
                **connection_options(address), acks="all", max_request_size=MAX_RECORD_BYTES
            )

    def send_all(self, count: int) -> Mapping[str, int]:
        """Sends ``count`` frames as fast as the broker takes them. Gives when each was sent (Unix
        ms) by its id, in that order; all are acknowledged.

        Raises:
            StageFailed: the broker doesn't take them.
        """
        return self._send(count, None)

    def send_paced(self, count: int, fps: float) -> Mapping[str, int]:
        """The same, ``fps`` frames a second."""
        return self._send(count, fps)

    def _send(self, count: int, fps: float | None) -> Mapping[str, int]:
        pace = Pace(SystemClock(), fps)
        futures: list[tuple[Future[RecordMetadata], int]] = []
        with kafka_errors(self._address, StageFailed):
            for k in range(count):
                while not pace.wait(k, 1.0):
                    pass
                futures.append(self._send_one())
                if fps is None and not len(futures) % _FLUSH_EVERY:
                    self._producer.flush(timeout=_SEND_WITHIN_S)
            self._producer.flush(timeout=_SEND_WITHIN_S)
            sent = [(future.get(_SEND_WITHIN_S), at_ms) for future, at_ms in futures]
        return {f"{each.topic}/{each.partition}/{each.offset}": at_ms for each, at_ms in sent}

    def _send_one(self) -> tuple[Future[RecordMetadata], int]:
        stream, at_ms = self._sent % STREAMS, int(time.time() * 1000)
        future = self._producer.send(
            self._topic,
            self._pictures[self._sent % len(self._pictures)],
            key=f"cam-{stream}".encode(),
            partition=stream,
            timestamp_ms=at_ms,
        )
        self._sent += 1
        return future, at_ms

    def close(self) -> None:
        """Ends the connection; all that was sent is acknowledged."""
        self._producer.close(timeout=5)


class ResultsTopic:
    """How many results there are, and which. Owned by: one thread."""

    def __init__(self, address: KafkaAddress) -> None:
        self._address = address
        self._partitions = [TopicPartition(address.topic, number) for number in range(STREAMS)]
        with kafka_errors(address, StageFailed):
            self._consumer = KafkaConsumer(
                **connection_options(address),
                enable_auto_commit=False,
                auto_offset_reset="earliest",
            )

    def count(self) -> int:
        """How many there are, duplicates included."""
        with kafka_errors(self._address, StageFailed):
            return sum(self._consumer.end_offsets(self._partitions).values())

    def read(self) -> list[Result]:
        """All that there are now.

        Raises:
            StageFailed: they can't be read within a minute.
        """
        end = time.monotonic() + _READ_WITHIN_S
        found: list[Result] = []
        wanted = self.count()
        with kafka_errors(self._address, StageFailed):
            self._consumer.assign(self._partitions)
            self._consumer.seek_to_beginning(*self._partitions)
            while len(found) < wanted:
                if time.monotonic() > end:
                    raise StageFailed(f"{self._address}: {len(found)} of {wanted} results read")
                for records in self._consumer.poll(timeout_ms=500).values():
                    found += [_result(each.value or b"", each.timestamp) for each in records]
        return found

    def close(self) -> None:
        """Ends the connection."""
        try:
            self._consumer.close(autocommit=False)
        except KafkaError as cause:
            raise StageFailed(f"{self._address}: {cause}") from cause


def _result(value: bytes, appended_ms: int) -> Result:
    return Result(json.loads(value)["frame_id"], appended_ms)
