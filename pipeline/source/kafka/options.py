"""What a Kafka source's URL says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.kafka.address import KafkaAddress


@dataclass(frozen=True, slots=True)
class KafkaSourceOptions:
    """One topic, read as a member of ``group``.

    ``start`` is where a group begins that has committed nothing yet. With ``max_age_s`` the stream
    is live: old frames are shed. A member that is silent for ``session_s`` is thrown out, and
    others get its partitions: so long do frames wait behind a worker that was killed. With a
    ``slot`` the stream is strict: offsets are committed with the rows alone.
    """

    address: KafkaAddress
    group: str
    start: Literal["earliest", "latest"] = "earliest"
    max_age_s: float | None = None
    session_s: float = 15.0
    slot: str = ""
