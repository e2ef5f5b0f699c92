"""The thread that polls Kafka hangs for ever at its tenth poll with frames."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence

from pipeline.source.kafka import KafkaSource
from pipeline.types import Frame
from tests.faults.planted import replace

_polls = itertools.count()
_real = KafkaSource.poll


def _poll(self: KafkaSource, room: int, timeout_s: float) -> Sequence[Frame]:
    frames = _real(self, room, timeout_s)
    if frames and next(_polls) == 10:
        threading.Event().wait()
    return frames


def plant() -> None:
    replace(KafkaSource, "poll", _poll)
