"""Sends identifiable frames to a topic and logs what became of each send."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError

from tests.faults.oracle.checker import Fate, Sent
from tests.faults.oracle.identity import LATE, Identity, picture
from tests.kafka.topics import digest_header

STREAMS = 8
_ACKNOWLEDGED_WITHIN_S = 60.0
_FLUSH_EVERY = 500


@dataclass(frozen=True, slots=True)
class Message:
    """A record to send. See ``Sent``."""

    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    identity: Identity | None = None
    must_be: Fate = "scored"
    timestamp_ms: int | None = None


class Feeder:
    """Numbers frames, sends them and keeps the log. Thread-safe for one sender at a time.

    ``nonce`` tells this run's frames from those of any other.
    """

    def __init__(self, servers: str, topic: str, nonce: int) -> None:
        self._servers = servers
        self._topic = topic
        self._nonce = nonce
        self._numbers = itertools.count()
        self._log: list[Sent] = []
        self._lock = threading.Lock()

    @property
    def log(self) -> list[Sent]:
        """All that was sent so far."""
        with self._lock:
            return list(self._log)

    def pictures(
        self,
        count: int,
        *,
        must_be: Callable[[Identity], Fate] | None = None,
        damaged_every: int = 0,
        are_late: bool = False,
    ) -> Iterable[Message]:
        """The next ``count`` frames, spread over the streams. See ``Sent`` for ``must_be``; with
        ``damaged_every`` a message that is no picture comes in the place of each so manyth.
        ``are_late`` frames are those that some networks are bad on."""
        for number in itertools.islice(self._numbers, count):
            identity = Identity(number % STREAMS, number + LATE * are_late, self._nonce)
            if damaged_every and number % damaged_every == 0:
                key = f"damaged-{identity.stream}".encode()
                yield Message(b"no picture", key, must_be="rejected")
                continue
            value = picture(identity)
            yield Message(
                value,
                f"cam-{identity.stream}".encode(),
                (digest_header(value),),
                identity,
                must_be(identity) if must_be else "scored",
            )

    def feed(self, count: int, **more: Any) -> None:
        """Sends the next ``count`` frames as fast as possible; for ``more`` see ``pictures``."""
        self.send(self.pictures(count, **more))

    def feed_deleted(self, count: int) -> int:
        """Sends the next ``count`` frames, which somebody will delete: whether they get an outcome
        is unknown from now on. Gives how many they are."""
        before = len(self.log)
        self.feed(count)
        with self._lock:
            self._log[before:] = [replace(each, status="unknown") for each in self._log[before:]]
        return count

    def forget(self) -> None:
        """The topic is another one now: the log begins anew, the frames' numbers don't."""
        with self._lock:
            self._log.clear()

    def send(self, messages: Iterable[Message], pause_s: float = 0.0) -> None:
        """Sends these, with a pause behind each, and waits until the fate of all is known."""
        producer = KafkaProducer(
            bootstrap_servers=self._servers,
            linger_ms=5,
            reconnect_backoff_max_ms=500,
            max_request_size=16 << 20,
        )
        pause = threading.Event()
        sent: list[tuple[Message, Any]] = []
        try:
            for message in messages:
                sent.append((message, self._start(producer, message)))
                if pause_s:
                    pause.wait(pause_s)
                if len(sent) >= _FLUSH_EVERY:
                    self._note(sent)
                    sent = []
        finally:
            self._note(sent)
            producer.close(timeout=10)

    def keep_feeding(self, per_s: float, until: threading.Event) -> threading.Thread:
        """Sends at a steady rate in the background until told; join the thread then."""

        def run() -> None:
            while not until.is_set():
                self.send(self.pictures(max(1, int(per_s / 2))), pause_s=1 / per_s)

        thread = threading.Thread(target=run, name="feeder")
        thread.start()
        return thread

    def _start(self, producer: KafkaProducer, message: Message) -> Any:
        return producer.send(
            self._topic,
            message.value,
            key=message.key,
            headers=list(message.headers),
            timestamp_ms=message.timestamp_ms,
        )

    def _note(self, sent: list[tuple[Message, Any]]) -> None:
        for message, future in sent:
            self.note(message, future)

    def note(self, message: Message, future: Any) -> None:
        """Waits until a send's fate is known and keeps it in the log."""
        status: Literal["ok", "failed", "unknown"] = "ok"
        frame_id = ""
        try:
            there = future.get(_ACKNOWLEDGED_WITHIN_S)
            frame_id = f"{there.topic}/{there.partition}/{there.offset}"
        except KafkaTimeoutError:
            status = "unknown"
        except KafkaError:
            status = "failed"
        with self._lock:
            self._log.append(Sent(message.identity, status, frame_id, message.must_be))
