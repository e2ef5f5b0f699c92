"""One record of a topic, as tests compare them."""

from __future__ import annotations

from dataclasses import dataclass

from kafka.consumer.fetcher import ConsumerRecord


@dataclass(frozen=True, slots=True)
class Row:
    """One record of a topic."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes
    headers: dict[str, bytes]
    timestamp_ms: int = 0

    @classmethod
    def of(cls, record: ConsumerRecord) -> Row:
        """A record as kafka-python gives it."""
        return cls(
            record.partition,
            record.offset,
            record.key,
            record.value or b"",
            {name: value for name, value in record.headers if value is not None},
            record.timestamp,
        )
