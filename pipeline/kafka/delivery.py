"""Records on their way to a broker: how many, and what became of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kafka import KafkaProducer
from kafka.errors import AuthorizationError, MessageSizeTooLargeError
from kafka.future import Future

from pipeline.clock import Clock
from pipeline.errors import StageFailed
from pipeline.kafka.address import KafkaAddress
from pipeline.kafka.connection import close_producer, kafka_errors, make_producer

MOST_BYTES_ON_THEIR_WAY = 32 << 20
"""kafka-python's ``send`` never blocks: without a limit a slow broker fills the memory."""

_DELIVER_WITHIN_S = 60.0
_METADATA_WITHIN_MS = 5_000
"""``send`` waits so long for the topic's metadata, where the broker has just gone."""
_BATCH_BYTES = 1 << 20
_GRACE_S = 5.0
_ABANDON_WITHIN_S = 0.5
"""To close a producer that holds records which won't be acknowledged any more."""
_STOP_WITHIN_S = 3.0
"""Who wants to stop waits for acknowledgements as long as they come, and so long after the last."""
_LOOK_EVERY_S = 0.2
_RECORD_BYTES = 512
"""A record's key, headers and bookkeeping; so that one without a value counts, too."""


class Deliveries:
    """Follows what a producer sent, until each record is acknowledged or one is refused.

    Thread-safe: acknowledgements arrive on kafka-python's own thread.
    """

    def __init__(self, address: KafkaAddress, clock: Clock) -> None:
        self._address = address
        self._clock = clock
        self._changed = threading.Condition()
        self._bytes_on_their_way = 0
        self._heard_mono_s = 0.0
        self._stopped_mono_s: float | None = None
        self._is_given_up = False
        self._failure: BaseException | None = None
        self._refused_by = address
        self._on_their_way = 0
        self._records = 0
        self._bytes = 0

    @property
    def records(self) -> int:
        """How many were acknowledged."""
        return self._records

    @property
    def size_bytes(self) -> int:
        """Of the values that were acknowledged."""
        return self._bytes

    @property
    def on_their_way(self) -> int:
        """Records that were neither acknowledged nor refused: nobody knows whether they arrived."""
        return self._on_their_way

    @contextmanager
    def producer(self) -> Iterator[KafkaProducer]:
        """Connects the producer whose records are to be followed. At the end it gets some seconds
        for what is on its way, unless that was given up.

        Raises:
            ConfigError: not allowed.
            SourceUnavailable: the cluster doesn't answer.
        """
        with kafka_errors(self._address):
            producer = make_producer(
                self._address,
                _DELIVER_WITHIN_S,
                batch_size=_BATCH_BYTES,
                max_block_ms=_METADATA_WITHIN_MS,
            )
        try:
            yield producer
        finally:
            if self._is_given_up:
                close_producer(producer, _ABANDON_WITHIN_S)
            else:
                close_producer(producer)

    def follow(
        self,
        future: Future[Any],
        size_bytes: int,
        then: Callable[[], None] | None = None,
        to: KafkaAddress | None = None,
    ) -> None:
        """Counts a record with a value of ``size_bytes``; ``then`` is called, on kafka-python's
        thread, once it is acknowledged; ``to`` is where it goes, if not to the address of all."""
        with self._changed:
            if not self._on_their_way:
                self._heard_mono_s = self._clock.monotonic()
            self._on_their_way += 1
            self._bytes_on_their_way += size_bytes + _RECORD_BYTES

        def note(error: BaseException | None) -> None:
            if error is None and then is not None:
                then()
            self._note(size_bytes, error, to or self._address)

        future.add_callback(lambda _: note(None))
        future.add_errback(note)

    def await_room(self, size_bytes: int, stop: threading.Event) -> bool:
        """Waits until a value of ``size_bytes`` may be sent; False if ``stop`` is set and no
        acknowledgement comes any more.

        Raises:
            ConfigError: we may not write there.
            StageFailed: a record was refused, or nothing was acknowledged for a minute.
        """
        return self._await(max(0, MOST_BYTES_ON_THEIR_WAY - size_bytes), stop)

    def await_all(self, stop: threading.Event) -> bool:
        """Waits until nothing is on its way any more. See ``await_room``."""
        return self._await(0, stop)

    def _await(self, at_most_bytes: int, stop: threading.Event) -> bool:
        with self._changed:
            while self._failure is None and self._bytes_on_their_way > at_most_bytes:
                now = self._clock.monotonic()
                if now - self._heard_mono_s > _DELIVER_WITHIN_S + _GRACE_S:
                    raise StageFailed(f"{self._address}: nothing was acknowledged within a minute")
                if stop.is_set():
                    since = self._stopped_mono_s = self._stopped_mono_s or now
                    if now - max(since, self._heard_mono_s) > _STOP_WITHIN_S:
                        self._is_given_up = True
                        return False
                self._changed.wait(_LOOK_EVERY_S)
            failure = self._failure
        if isinstance(failure, AuthorizationError):
            with kafka_errors(self._refused_by):
                raise failure
        if failure is not None:
            raise StageFailed(_refusal(self._refused_by, failure)) from failure
        return True

    def _note(self, size_bytes: int, error: BaseException | None, to: KafkaAddress) -> None:
        with self._changed:
            self._on_their_way -= 1
            self._bytes_on_their_way -= size_bytes + _RECORD_BYTES
            self._heard_mono_s = self._clock.monotonic()
            if error is None:
                self._records += 1
                self._bytes += size_bytes
            elif self._failure is None:
                self._failure, self._refused_by = error, to
            self._changed.notify_all()


def _refusal(address: KafkaAddress, error: BaseException) -> str:
    if isinstance(error, MessageSizeTooLargeError):
        return (
            f"{address}: a frame is larger than the topic takes; raise its max.message.bytes"
            " (a topic made by `headrace feed --create` takes 16 MiB), or send smaller ones"
        )
    return f"{address}: a record wasn't taken: {error!r}"
