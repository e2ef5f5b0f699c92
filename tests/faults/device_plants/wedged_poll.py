"""A poll that never returns, once frames have come."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from pipeline.source.kafka.consumer import KafkaSource
from pipeline.types import Frame
from tests.faults.planted import replace

_poll = KafkaSource.poll
_seen = 0


def _wedged(self: KafkaSource, room: int, timeout_s: float) -> Sequence[Frame]:
    global _seen  # noqa: PLW0603
    if _seen > 200:
        threading.Event().wait()
    frames = _poll(self, room, timeout_s)
    _seen += len(frames)
    return frames


def plant() -> None:
    replace(KafkaSource, "poll", _wedged)
