"""Topics for tests: frames in, results out, and what must hold between the two."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError, RetriableError
from kafka.structs import OffsetAndMetadata, TopicPartition

from pipeline.kafka.address import KafkaAddress
from pipeline.kafka.connection import create_topic
from tests.kafka.row import Row
from tests.kafka.tail import Tail
from tests.support import noise_jpeg, wait_until

Answer = TypeVar("Answer")

_READY_WITHIN_S = 30.0
PICTURES = [noise_jpeg(seed=seed) for seed in range(16)]


class RawName(str):
    """A header's name in other bytes than UTF-8: kafka-python can't read its record."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:  # type: ignore[override]
        return self.__str__().encode("latin-1")


class Topics:
    """A topic of frames and one of results, of this test alone, on a real broker."""

    def __init__(self, servers: str, name: str = "") -> None:
        self.servers = servers
        self.name = name or f"frames-{uuid.uuid4().hex[:8]}"
        self.results = f"{self.name}-results"
        self.dead_letters = f"{self.name}.dlq"
        for topic in () if name else (self.name, self.results):
            create_topic(KafkaAddress((servers,), topic), partitions=4)

    @property
    def source(self) -> str:
        """The frames' URL; the group begins anew with each test."""
        return f"kafka://{self.servers}/{self.name}?group={self.name}&session=6s"

    @property
    def sink(self) -> str:
        """The results' URL."""
        return f"kafka://{self.servers}/{self.results}"

    def send(
        self,
        values: Sequence[bytes | None],
        streams: int = 8,
        headers: Sequence[tuple[str, bytes]] = (),
        timestamp_ms: int | None = None,
    ) -> list[str]:
        """Produces records, spread over streams as keys; gives the frames' ids."""
        producer = KafkaProducer(bootstrap_servers=self.servers, linger_ms=5)
        futures = [
            producer.send(
                self.name,
                value,
                key=f"cam-{number % streams}".encode() if streams else None,
                headers=list(headers),
                timestamp_ms=timestamp_ms,
            )
            for number, value in enumerate(values)
        ]
        sent = [future.get(30) for future in futures]
        producer.close(timeout=10)
        return [f"{each.topic}/{each.partition}/{each.offset}" for each in sent]

    def send_pictures(self, count: int, streams: int = 8) -> list[str]:
        """Produces small JPEGs, as a plain producer does it."""
        return self.send([PICTURES[number % len(PICTURES)] for number in range(count)], streams)

    def read(self, topic: str) -> list[Row]:
        """All records of a topic, each partition in order."""
        tail = Tail(self.servers, topic)
        try:
            return list(tail.refresh())
        finally:
            tail.close()

    def until_led(self) -> None:
        """Waits until a broker that was away leads the topic again: for some seconds it doesn't."""
        admin = KafkaAdminClient(bootstrap_servers=self.servers)

        def is_led() -> bool:
            with contextlib.suppress(KafkaError):
                (topic,) = admin.describe_topics([self.name])
                return all(each["leader_id"] >= 0 for each in topic["partitions"])
            return False

        try:
            wait_until(is_led, _READY_WITHIN_S)
        finally:
            admin.close()

    def result_count(self) -> int:
        """How many results there are, duplicates included."""
        return self.count(self.results)

    def count(self, topic: str) -> int:
        """How many records were written to a topic."""
        return sum(self.ends(topic).values())

    def ends(self, topic: str) -> dict[int, int]:
        """The next offsets of a topic, by partition; the marker of a transaction has one, too."""
        return self._ask(
            topic,
            lambda consumer, at: {
                each.partition: end for each, end in consumer.end_offsets(at).items()
            },
        )

    def has_all(self, sent: Sequence[str]) -> bool:
        """Whether each of these frames has a result."""
        if self.result_count() < len(sent):
            return False
        ids = {row.headers["ce_id"].decode() for row in self.read(self.results)}
        return ids.issuperset(sent)

    def committed(self) -> int:
        """The sum of the group's committed offsets."""
        return sum(self.committed_offsets().values())

    def committed_offsets(self) -> dict[int, int]:
        """The group's committed offsets, by partition."""
        return self._ask(
            self.name,
            lambda consumer, at: {each.partition: consumer.committed(each) or 0 for each in at},
        )

    def rewind(self) -> None:
        """Sets the group back to the beginning, as one may while it has no members."""

        def commit(consumer: KafkaConsumer, at: list[TopicPartition]) -> None:
            consumer.assign(at)
            consumer.commit({each: OffsetAndMetadata(0, "", -1) for each in at})

        self._ask(self.name, commit)

    def _ask(
        self, topic: str, question: Callable[[KafkaConsumer, list[TopicPartition]], Answer]
    ) -> Answer:
        """Asks again for some seconds where the broker says that it isn't ready: one that was
        frozen says at first that it leads, and then for a moment that it doesn't."""
        deadline = time.monotonic() + _READY_WITHIN_S
        while True:
            try:
                return self._ask_once(topic, question)
            except RetriableError:
                if time.monotonic() > deadline:
                    raise
                threading.Event().wait(0.1)

    def _ask_once(
        self, topic: str, question: Callable[[KafkaConsumer, list[TopicPartition]], Answer]
    ) -> Answer:
        consumer = KafkaConsumer(
            bootstrap_servers=self.servers, group_id=self.name, enable_auto_commit=False
        )
        try:
            numbers = consumer.partitions_for_topic(topic) or set()
            return question(consumer, [TopicPartition(topic, number) for number in numbers])
        finally:
            consumer.close(autocommit=False)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run did to the frames that were sent."""

    lost: frozenset[str]
    phantom: frozenset[str]
    duplicates: int
    out_of_order: int


def judge(sent: Sequence[str], results: Sequence[Row]) -> Verdict:
    """Compares the ids that were sent with the rows of the results. A frame's later rows are
    duplicates; of the first ones each stream's order must be that of the source."""
    seen: set[str] = set()
    duplicates = out_of_order = 0
    newest: dict[tuple[bytes | None, str], int] = {}
    for row in results:
        frame_id = row.headers["ce_id"].decode()
        if frame_id in seen:
            duplicates += 1
            continue
        seen.add(frame_id)
        partition, offset = frame_id.rsplit("/", 1)
        line = (row.key, partition)
        out_of_order += int(offset) < newest.get(line, -1)
        newest[line] = max(int(offset), newest.get(line, -1))
    return Verdict(
        lost=frozenset(sent) - seen,
        phantom=frozenset(seen) - frozenset(sent),
        duplicates=duplicates,
        out_of_order=out_of_order,
    )


def digest_header(value: bytes) -> tuple[str, bytes]:
    """The header that promises a value's digest."""
    return ("hr-sha256", hashlib.sha256(value).hexdigest().encode())


def body(row: Row) -> dict:
    """A result's JSON."""
    return json.loads(row.value)
