"""One strict worker's source and sink, with outcomes when a test says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipeline.clock import SystemClock
from pipeline.credits import Credits
from pipeline.journal import Journal
from pipeline.kafka.access import KafkaAccess
from pipeline.kafka.address import KafkaAddress
from pipeline.metrics import Metrics
from pipeline.order import StreamOrder, partition_of
from pipeline.sink.kafka_strict import StrictKafkaSink
from pipeline.source.kafka_url import make_seat, strict_options
from pipeline.source.url import Surroundings, make_source
from pipeline.types import Frame, Outcome
from tests.frames import scored
from tests.kafka.member import Member
from tests.kafka.topics import Topics
from tests.support import wait_until


class StrictMember(Member):
    """Reads and writes a test's topics. Owned by: the thread that calls it."""

    def __init__(self, topics: Topics, slot: str = "0") -> None:
        super().__init__(topics)
        clock = SystemClock()
        url = f"{topics.source}&mode=strict&slot={slot}"
        strict = strict_options([url], KafkaAccess())
        assert strict is not None
        self.journal = Journal(Credits(5_000, 1 << 30), clock, StreamOrder(partition_of))
        self.seat = make_seat(strict, self.journal.is_current, Metrics())
        self.source = make_source(url, Surroundings(clock, self.journal, seat=self.seat))
        servers = (topics.servers,)
        self.sink = StrictKafkaSink(
            KafkaAddress(servers, topics.results),
            KafkaAddress(servers, topics.dead_letters),
            self.seat,
            clock,
        )

    def write(
        self, frames: Sequence[Frame], outcome: Callable[[Frame], Outcome] = scored
    ) -> Sequence[Outcome]:
        """Their outcomes are there, and the sink writes what may be written."""
        ready = self.journal.in_stream_order(list(map(outcome, frames)))
        self.sink.write(ready)
        return ready

    def collect(self, count: int) -> list[Outcome]:
        """Collects so many outcomes, and finishes them in the journal."""
        done: list[Outcome] = []

        def has_all() -> bool:
            self.poll(0)
            collected = self.sink.collect(0.1)
            self.journal.finish(collected)
            done.extend(collected)
            return len(done) >= count

        wait_until(has_all, 30)
        return done

    def __enter__(self) -> StrictMember:
        self.sink.open()
        self.source.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.sink.close()
        self.source.close()
