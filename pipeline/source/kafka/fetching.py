"""How much the broker is to gather before it answers a fetch."""

from __future__ import annotations

from typing import Any

from pipeline.source.kafka.unreadable import Batches

_WORTH_S = 0.02
_MOST_BYTES = 1 << 20
_WINDOW_S = 0.5


def least_bytes(bytes_per_s: float) -> int:
    """What comes within 20 ms, at most a mebibyte, at least one byte."""
    return max(1, min(_MOST_BYTES, int(bytes_per_s * _WORTH_S)))


class FetchPace:
    """Has a fetch wait for what comes within 20 ms anyway. Of fewer than 50 frames a second that is
    the next one.

    A fetch for each frame, its answer and a poll cost a millisecond of CPU in kafka-python, and on
    a busy machine other frames wait for that. Gathered, 200 frames a second cost a quarter less CPU
    and are no later (docs/measurements.md). No fetch waits longer than ``fetch_max_wait_ms``.

    Owned by: the intake thread.
    """

    def __init__(self) -> None:
        self._bytes = 0
        self._since_mono_s = 0.0

    def note(self, consumer: Any, batches: Batches, now_mono_s: float) -> None:
        """One poll gave this; now and then the ``KafkaConsumer`` is told what to wait for."""
        self._bytes += sum(len(each.value or b"") for batch in batches.values() for each in batch)
        passed_s = now_mono_s - self._since_mono_s
        if passed_s < _WINDOW_S:
            return
        leader_of = consumer._client.cluster.leader_for_partition
        brokers = len({leader_of(each) for each in consumer.assignment()}) or 1
        # Read for each fetch, of which each broker gets one, and nothing else is done with it.
        least = least_bytes(self._bytes / passed_s / brokers)
        consumer._fetcher.config["fetch_min_bytes"] = least
        self._bytes, self._since_mono_s = 0, now_mono_s
