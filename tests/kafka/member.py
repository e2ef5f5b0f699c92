"""One member of a consumer group: the real source and journal, and outcomes when a test says so."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from pipeline.clock import Clock, SystemClock
from pipeline.credits import Credits
from pipeline.journal import Journal
from pipeline.kafka.address import KafkaAddress
from pipeline.source.kafka.member import make_consumer
from pipeline.source.kafka.options import KafkaSourceOptions
from pipeline.source.url import Surroundings, make_source
from pipeline.types import Frame
from tests.frames import scored
from tests.kafka.topics import Topics
from tests.support import wait_until

_DEADLINE_S = 30.0


def group_consumer(topics: Topics) -> Any:
    """A consumer as the source makes it, of the test's group, which it hasn't joined yet."""
    address = KafkaAddress((topics.servers,), topics.name)
    return make_consumer(KafkaSourceOptions(address, topics.name, session_s=6.0))


class Member:
    """Reads a test's topic. Owned by: the thread that calls it."""

    def __init__(self, topics: Topics, options: str = "", clock: Clock | None = None) -> None:
        clock = clock or SystemClock()
        self._topics = topics
        self.journal = Journal(Credits(5_000, 1 << 30), clock)
        self.source = make_source(f"{topics.source}{options}", Surroundings(clock, self.journal))

    def poll(self, room: int, timeout_s: float = 0.2) -> Sequence[Frame]:
        """One poll, as the intake makes it: what comes is in the journal."""
        frames = self.source.poll(room, timeout_s)
        self.journal.admit(frames)
        return frames

    def read(self, count: int, room: int = 500) -> list[Frame]:
        """Polls until there are ``count`` frames.

        Raises:
            AssertionError: they didn't come.
        """
        frames: list[Frame] = []
        end = time.monotonic() + _DEADLINE_S
        while len(frames) < count:
            assert time.monotonic() < end, f"{len(frames)} of {count} frames in {_DEADLINE_S:g} s"
            frames += self.poll(min(room, count - len(frames)))
        return frames

    def finish(self, frames: Sequence[Frame]) -> list[str]:
        """Their outcomes are durable; gives their ids."""
        self.journal.finish([scored(frame) for frame in frames])
        return [frame.frame_id for frame in frames]

    def commit_all(self, expected: int) -> None:
        """Commits what is finished, until the broker has ``expected`` over all partitions."""

        def is_committed() -> bool:
            self.poll(0)
            self.source.commit(self.journal.next_offsets())
            return self._topics.committed() == expected

        wait_until(is_committed)

    def __enter__(self) -> Member:
        self.source.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.source.close()
