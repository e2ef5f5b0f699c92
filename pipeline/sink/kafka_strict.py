"""The strict Kafka sink: rows, dead letters and the group's offsets in one transaction."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pipeline.clock import Clock
from pipeline.errors import HeadraceError
from pipeline.kafka.address import KafkaAddress
from pipeline.kafka.connection import require_crc32c
from pipeline.kafka.seat import Seat
from pipeline.kafka.transactions import Record, Transactions, committed
from pipeline.sink.kafka import require_topic
from pipeline.sink.records import Outgoing, dead_letter_record, result_record
from pipeline.sink.unsettled import Unsettled
from pipeline.types import Outcome, Rejected

log = logging.getLogger(__name__)

_MOST_ROWS = 1000
_MOST_REJECTED_BYTES = 32 << 20
"""Of one transaction: kafka-python keeps all of it in memory, and it has some seconds."""


class StrictKafkaSink:
    """Writes each outcome's row, and a rejected frame's bytes, together with the offset that says
    that the frame is done: a reader of what is committed sees one row of each frame. See ``Sink``.

    Outcomes must come in the order of their partitions, without gaps. One whose partition was taken
    away meanwhile gets no row and is collected all the same: its next owner writes it.

    Owned by: the sink thread.
    """

    def __init__(
        self,
        results: KafkaAddress,
        dead_letters: KafkaAddress | None,
        seat: Seat,
        clock: Clock,
        *,
        create_partitions: int = 0,
    ) -> None:
        self._results = results
        self._dead_letters = dead_letters
        self._seat = seat
        self._clock = clock
        self._create_partitions = create_partitions
        self._transactions = Transactions(results, seat.transactional_id, clock)
        self._unsettled = Unsettled()
        self._done: list[Outcome] = []
        self._has_dead_letters = False
        self._pause = threading.Event()

    @property
    def name(self) -> str:
        """See ``Sink.name``."""
        return str(self._results)

    def open(self) -> None:
        """See ``Sink.open``. Blocks up to half a minute; ends whoever has the same slot."""
        require_crc32c()
        require_topic(self._results, self._create_partitions)
        self._transactions.open()

    def write(self, outcomes: Sequence[Outcome]) -> None:
        """See ``Sink.write``. What is in the line already isn't taken again."""
        done = {each.frame.position for each in self._done}
        self._unsettled.add(each for each in outcomes if each.frame.position not in done)
        self._heal()

    def collect(self, timeout_s: float) -> Sequence[Outcome]:
        """See ``Sink.collect``. Commits one transaction; for as long as this worker is no member of
        a stable group, nothing."""
        if self._unsettled and not self._done:
            self._heal()
            self._commit(timeout_s)
        done, self._done = self._done, []
        return done

    def close(self) -> None:
        """See ``Sink.close``."""
        self._transactions.close()

    def _heal(self) -> None:
        """After a failure: ends what was open, and looks what became of it."""
        if self._transactions.is_open:
            return
        require_topic(self._results, self._create_partitions)
        self._has_dead_letters = False
        self._transactions.open()
        partitions = self._unsettled.partitions
        if partitions:
            offsets = committed(self._seat.source, self._seat.group, partitions)
            self._settle(self._unsettled.covered(offsets))

    def _commit(self, timeout_s: float) -> None:
        member = self._seat.member()
        if member is None:
            self._pause.wait(timeout_s)
            return
        batch = self._unsettled.next_batch(_MOST_ROWS, _MOST_REJECTED_BYTES, self._seat.is_current)
        if batch.foreign:
            log.info("%d results are left to the partitions' next owners", len(batch.foreign))
            self._settle(batch.foreign)
        if batch.outcomes:
            self._require_dead_letters(batch.outcomes)
            with self._counted():
                self._transactions.commit(self._records(batch.outcomes), batch.next_offsets, member)
            self._settle(batch.outcomes)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """A transaction is a commit of the group's offsets, as those of other sources are."""
        metrics, began_mono_s = self._seat.metrics, self._clock.monotonic()
        try:
            yield
        except HeadraceError:
            metrics.commits.labels("failed").inc()
            raise
        metrics.commits.labels("done").inc()
        metrics.commit_duration.observe(self._clock.monotonic() - began_mono_s)

    def _settle(self, outcomes: Sequence[Outcome]) -> None:
        self._unsettled.settle(outcomes)
        self._done += outcomes

    def _require_dead_letters(self, outcomes: Sequence[Outcome]) -> None:
        """Their topic is made when the first one comes."""
        if self._dead_letters is None or self._has_dead_letters:
            return
        if any(isinstance(each, Rejected) for each in outcomes):
            require_topic(self._dead_letters, 1)
            self._has_dead_letters = True

    def _records(self, outcomes: Sequence[Outcome]) -> Iterator[Record]:
        for outcome in outcomes:
            if isinstance(outcome, Rejected) and self._dead_letters is not None:
                yield _record(self._dead_letters, dead_letter_record(outcome))
            yield _record(self._results, result_record(outcome, self._clock.now()))


def _record(to: KafkaAddress, outgoing: Outgoing) -> Record:
    return Record(to.topic, outgoing.key, outgoing.value, outgoing.headers)
