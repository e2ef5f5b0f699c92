"""The feed: puts the frames of any source onto a Kafka topic, as a camera with a client would."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from kafka import KafkaProducer
from kafka.errors import MessageSizeTooLargeError

from pipeline.clock import Clock
from pipeline.errors import ConfigError, SourceExhausted, StageFailed
from pipeline.kafka.address import KafkaAddress
from pipeline.kafka.connection import (
    has_topic,
    kafka_errors,
    require_crc32c,
)
from pipeline.kafka.delivery import Deliveries
from pipeline.kafka.record import FRAME_TYPE, MAX_RECORD_BYTES, SHA256, event_headers, utf8
from pipeline.opencv import cv2
from pipeline.source.base import Source
from pipeline.source.pacing import Pace
from pipeline.types import Frame, ImageHwc
from pipeline.wire import rfc3339

_POLL_FRAMES = 16
_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class FeedOptions:
    """``fps`` paces the source's frames, ``count`` ends after so many of them; each is sent once
    under its own stream, or under each of ``streams`` names. Pictures that the source decoded are
    encoded as JPEG of ``quality`` (1 to 100)."""

    fps: float | None = None
    count: int | None = None
    streams: int | None = None
    quality: int = 90


@dataclass(frozen=True, slots=True)
class Fed:
    """What was acknowledged so far. Of ``unknown`` frames nobody knows whether they arrived: the
    feed was stopped while the broker didn't answer."""

    records: int
    size_bytes: int
    duration_s: float
    unknown: int = 0

    def to_json(self) -> dict[str, object]:
        """The summary of ``--json``."""
        rate = self.records / self.duration_s if self.duration_s else 0.0
        return {
            "sent": self.records,
            "unknown": self.unknown,
            "bytes": self.size_bytes,
            "duration_s": round(self.duration_s, 3),
            "frames_per_s": round(rate, 1),
        }


class Feed:
    """Reads one source and sends each frame to a topic, encoded, with its headers and its digest.

    Owned by: the thread that calls ``run``; acknowledgements arrive on kafka-python's own.
    """

    def __init__(
        self, source: Source, address: KafkaAddress, options: FeedOptions, clock: Clock
    ) -> None:
        self._source = source
        self._address = address
        self._options = options
        self._clock = clock
        self._deliveries = Deliveries(address, clock)
        self._started_mono_s = clock.monotonic()

    def run(self, stop: threading.Event, tell: Callable[[Fed], None]) -> Fed:
        """Feeds until the source ends, ``count`` frames were sent or ``stop`` is set; ``tell`` is
        called with what was acknowledged, several times a second. After ``stop`` it waits as long
        as acknowledgements come, and some seconds more.

        Raises:
            ConfigError: source or topic aren't there.
            SourceUnavailable: the source or the cluster doesn't answer.
            StageFailed: a record was refused, or not acknowledged within a minute.
        """
        require_crc32c()
        if not has_topic(self._address):
            raise ConfigError(
                f"{self._address}: there is no topic {self._address.topic!r}; --create makes it"
            )
        self._source.open()
        try:
            with self._deliveries.producer() as producer:
                self._started_mono_s = self._clock.monotonic()
                for frame in self._frames(stop):
                    for stream in self._streams_of(frame):
                        self._send(producer, frame, stream, stop)
                    tell(self._fed())
                self._deliveries.await_all(stop)
                # Before the producer is closed: what it gives up then isn't told from the rest.
                fed = self._fed(self._deliveries.on_their_way)
        finally:
            self._source.close()
        tell(fed)
        return fed

    def _frames(self, stop: threading.Event) -> Iterator[Frame]:
        pace = Pace(self._clock, self._options.fps)
        left = self._options.count
        number = 0
        while not stop.is_set() and left != 0:
            room = _POLL_FRAMES if left is None else min(_POLL_FRAMES, left)
            try:
                frames = self._source.poll(room, _POLL_S)
            except SourceExhausted:
                return
            for frame in frames:
                while not pace.wait(number, _POLL_S):
                    if stop.is_set():
                        return
                yield frame
                number += 1
            left = None if left is None else left - len(frames)

    def _streams_of(self, frame: Frame) -> list[str]:
        if self._options.streams is None:
            return [frame.stream]
        return [f"{frame.stream}-{number}" for number in range(self._options.streams)]

    def _send(
        self, producer: KafkaProducer, frame: Frame, stream: str, stop: threading.Event
    ) -> None:
        if frame.defect is not None:
            return
        value = self._encoded(frame.payload)
        if len(value) > MAX_RECORD_BYTES - 4096:
            raise StageFailed(
                f"{frame.frame_id} has {len(value)} bytes, records have {MAX_RECORD_BYTES} at the"
                " most; lower --quality or make the pictures smaller"
            )
        if not self._deliveries.await_room(len(value), stop):
            return
        headers = _headers(frame, stream, value)
        try:
            with kafka_errors(self._address, StageFailed):
                future = producer.send(
                    self._address.topic, key=utf8(stream), value=value, headers=headers
                )
        except MessageSizeTooLargeError as cause:
            raise StageFailed(f"{frame.frame_id}: {cause}") from cause
        self._deliveries.follow(future, len(value))

    def _encoded(self, payload: bytes | ImageHwc) -> bytes:
        if isinstance(payload, bytes):
            return payload
        quality = [cv2.IMWRITE_JPEG_QUALITY, self._options.quality]
        done, encoded = cv2.imencode(".jpg", np.ascontiguousarray(payload), quality)
        if not done:
            raise StageFailed(f"OpenCV can't encode a picture of shape {payload.shape} as JPEG")
        return encoded.tobytes()

    def _fed(self, unknown: int = 0) -> Fed:
        done = self._deliveries
        duration_s = self._clock.monotonic() - self._started_mono_s
        return Fed(done.records, done.size_bytes, duration_s, unknown)


def _headers(frame: Frame, stream: str, value: bytes) -> list[tuple[str, bytes]]:
    trace = frame.trace_id or os.urandom(16).hex()
    return [
        *event_headers(f"{stream}/{frame.position.offset}", stream, FRAME_TYPE),
        ("ce_time", rfc3339(frame.captured_at).encode()),
        ("content-type", _content_type(value)),
        ("traceparent", f"00-{trace}-{os.urandom(8).hex()}-01".encode()),
        (SHA256, hashlib.sha256(value).hexdigest().encode()),
    ]


def _content_type(value: bytes) -> bytes:
    if value.startswith(b"\x89PNG"):
        return b"image/png"
    return b"image/webp" if value[8:12] == b"WEBP" else b"image/jpeg"
