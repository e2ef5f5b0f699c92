"""The Kafka source: one thread polls, pauses and commits; a wedged consumer is made anew.

What kafka-python does wrong, and how this file goes around it, is in docs/decisions/0011.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from pipeline.clock import Clock
from pipeline.commit import Partition
from pipeline.errors import ConfigError, SourceUnavailable
from pipeline.kafka.codecs import limit_decompression
from pipeline.kafka.connection import kafka_errors, require_crc32c
from pipeline.kafka.receive import receive_in_large_pieces
from pipeline.kafka.seat import Seat
from pipeline.metrics import Metrics
from pipeline.source.base import Progress, SourceInfo
from pipeline.source.kafka.assignment import Assignment
from pipeline.source.kafka.backlog import Backlog
from pipeline.source.kafka.carried import Carried
from pipeline.source.kafka.caution import Caution
from pipeline.source.kafka.fetching import FetchPace
from pipeline.source.kafka.gauges import ConsumerGauges
from pipeline.source.kafka.member import make_consumer
from pipeline.source.kafka.offsets import Offsets, is_stable
from pipeline.source.kafka.options import KafkaSourceOptions
from pipeline.source.kafka.plan import CommitPlan, NoCommits
from pipeline.source.kafka.starts import Starts, TopicMadeAnew
from pipeline.source.kafka.unreadable import Batches, Unreadable, ask_again, without
from pipeline.source.kafka.watch import ConsumerWatch, PartitionView
from pipeline.types import Frame

log = logging.getLogger(__name__)

_SHORTEST_POLL_S = 0.5
"""kafka-python 3.0.12 never joins by short polls with work between them. Polls with records end
early all the same."""
_MOST_DRAIN_S = 15.0
"""However long the session is: others wait for these partitions, and the watchdog for the poll."""
_CLOSE_WITHIN_MS = 5_000
_MOST_UNPOLLED_S = 1.0
"""While frames go one at a time, more are polled only so often as the group needs it."""
_LOOK_EVERY_S = 1.0


class KafkaSource:
    """One topic's frames, as a member of a consumer group. See ``Source``.

    Without room all partitions are paused together and polled on, so the group stays: pausing some
    of several can stall them for ever. Commits are sent without waiting, and once more, awaited,
    when a partition is given up. Frames that kill workers are told from others if this is the only
    source, and lossless (``Mark``). Owned by: one intake thread.
    """

    def __init__(
        self,
        options: KafkaSourceOptions,
        clock: Clock,
        progress: Progress,
        metrics: Metrics,
        seat: Seat | None = None,
        is_only: bool = True,
    ) -> None:
        self._options = options
        self._clock = clock
        self._progress = progress
        self._metrics = metrics.consumer
        self._info = SourceInfo(
            options.address.topic,
            "strict" if options.slot else "lossless" if options.max_age_s is None else "live",
            is_finite=False,
            max_age_s=options.max_age_s,
        )
        self._consumer: KafkaConsumer | None = None
        self._assignment: Assignment | None = None
        self._seat = seat
        # Of other sources any frame may be the one that killed. A strict source commits nothing.
        is_cautious = is_only and options.max_age_s is None and not options.slot
        self._caution = Caution(progress, is_on=is_cautious)
        plan = (NoCommits if options.slot else CommitPlan)(options.address.topic)
        self._offsets = Offsets(plan, clock, progress, metrics.consumer, self._caution)
        self._backlog = Backlog(options, clock, progress)
        self._starts = Starts(options.address.topic, options.start, self._offsets, metrics.consumer)
        self._watch = ConsumerWatch()
        self._gauges = ConsumerGauges(options.address.topic, metrics.consumer)
        self._fetching = FetchPace()
        self._carried = Carried(clock, options.max_age_s)
        self._next_look_mono_s = 0.0
        self._polled_mono_s = 0.0
        self._has_joined = False
        self._is_wedged = False
        self._rebalances = 0

    @property
    def info(self) -> SourceInfo:
        """See ``Source.info``."""
        return self._info

    def open(self) -> None:
        """See ``Source.open``. Blocks up to ten seconds."""
        require_crc32c()
        limit_decompression()
        receive_in_large_pieces()
        options, address = self._options, self._options.address
        with kafka_errors(address):
            consumer = self._consumer = make_consumer(options)
            # Asked before `subscribe`: without it the group is joined twice, and the second join
            # can hang without an error.
            partitions = consumer.partitions_for_topic(address.topic)
            if not partitions:
                self._refuse_topic()
            self._starts.opened(consumer, partitions or ())
            drain_s = min(options.session_s / 4, _MOST_DRAIN_S)
            assignment = Assignment(consumer, self._progress, self._offsets, drain_s)
            assignment.begin_after(self._assignment)
            self._assignment = assignment
            consumer.subscribe([address.topic], listener=assignment)
            if self._seat is not None:
                self._seat.take(consumer.group_metadata)
        self._watch = ConsumerWatch()
        self._polled_mono_s = self._clock.monotonic()
        self._gauges.time_rebalance(self._polled_mono_s, is_stable=False)
        self._is_wedged = False
        self._rebalances = 0
        self._has_joined = True

    def poll(self, room: int, timeout_s: float) -> Sequence[Frame]:
        """See ``Source.poll``. Blocks for half a second where nothing comes, whatever ``timeout_s``
        is, and for up to a quarter of the session while partitions are given up."""
        consumer, assignment = self._opened()
        self._check_membership()
        is_full = self._caution.is_on_guard and bool(self._carried.frames)
        if is_full and self._clock.monotonic() - self._polled_mono_s < _MOST_UNPOLLED_S:
            self._progress.wait_finished(None, timeout_s)
            return self._hand_out(consumer, assignment, room)
        self._set_paused(room < 1 or is_full)
        wait_s = max(timeout_s, _SHORTEST_POLL_S)
        try:
            with kafka_errors(self._options.address):
                batches, unreadable = self._starts.poll(consumer, wait_s, max(1, room))
        except TopicMadeAnew:
            self._is_wedged = True
            self._offsets.take_back(consumer, assignment.owned)
            assignment.drop_all()
            raise
        if assignment.rebalances != self._rebalances:
            batches, unreadable = self._follow_rebalance(consumer, assignment, batches, unreadable)
        else:
            self._check_membership()
        now = self._polled_mono_s = self._clock.monotonic()
        self._gauges.time_rebalance(now, is_stable=is_stable(consumer))
        self._gauges.note_poll(batches)
        self._fetching.note(consumer, batches, now)
        self._starts.note_read(batches)
        self._carried.add(batches, unreadable, assignment, now)
        self._look(consumer, assignment, now, has_records=bool(batches) or unreadable is not None)
        return self._hand_out(consumer, assignment, room)

    def _hand_out(
        self, consumer: KafkaConsumer, assignment: Assignment, room: int
    ) -> Sequence[Frame]:
        """Frames that were polled. Before those of a partition that others may have died of, the
        group gets to know that they are taken."""
        frames, first = self._caution.choose(self._carried.frames, room)
        if not first:
            return frames
        if self._offsets.mark(consumer, assignment.generations, self._caution.marks(first)):
            self._caution.note_taken(first)
        elif self._caution.is_on_guard:
            self._carried.frames.extendleft(reversed(frames))
            return ()
        return frames

    def commit(self, next_offsets: Mapping[Partition, int]) -> None:
        """See ``Source.commit``. Sends without waiting, one commit at a time."""
        consumer, assignment = self._opened()
        with kafka_errors(self._options.address):
            self._offsets.send(consumer, assignment.generations, next_offsets)

    def close(self) -> None:
        """See ``Source.close``. Leaves the group, so that others get the partitions at once."""
        consumer, self._consumer = self._consumer, None
        if consumer is None:
            return
        if self._assignment is not None:
            self._assignment.closing()
        with contextlib.suppress(Exception):  # a wedged client raises anything
            if self._assignment is not None and not self._is_wedged:
                self._offsets.settle(consumer, self._assignment.generations, _SHORTEST_POLL_S)
        with contextlib.suppress(Exception):
            consumer.close(autocommit=False, timeout_ms=_CLOSE_WITHIN_MS)
        if self._assignment is not None:
            self._assignment.drop_all()
        if self._seat is not None:
            self._seat.leave()
        self._carried.clear()
        self._offsets.forget_sent()

    def _check_membership(self) -> None:
        """After a silence longer than the session (a frozen process) the partitions are another's,
        and the client goes on delivering them until a heartbeat is answered. Within a poll, too.

        Raises:
            SourceUnavailable: it was silent; what comes next must be asked for as a new member.
        """
        silent_s = self._clock.monotonic() - self._polled_mono_s
        if silent_s > self._options.session_s:
            self._is_wedged = True
            raise SourceUnavailable(
                f"{self._info.name}: this worker was silent for {silent_s:.0f} s, its session is"
                f" {self._options.session_s:g} s; joining again"
            )

    def _opened(self) -> tuple[KafkaConsumer, Assignment]:
        if self._consumer is None or self._assignment is None:
            raise SourceUnavailable(f"{self._info.name} isn't open")
        return self._consumer, self._assignment

    def _refuse_topic(self) -> None:
        address = self._options.address
        self.close()
        message = f"{address}: there is no topic {address.topic!r}"
        if self._has_joined:  # it was there: somebody may be making it anew
            raise SourceUnavailable(message)
        raise ConfigError(f"{message}; create it, or let `headrace feed --create` do it")

    def _set_paused(self, wanted: bool) -> None:
        consumer, assignment = self._opened()
        if wanted == assignment.is_paused:
            return
        assignment.is_paused = wanted
        partitions = [TopicPartition(*each) for each in assignment.owned]
        (consumer.pause if wanted else consumer.resume)(*partitions)
        if wanted:
            self._metrics.pauses.inc()

    def _look(
        self, consumer: KafkaConsumer, assignment: Assignment, now: float, *, has_records: bool
    ) -> None:
        """Watches the consumer: it can wedge in several ways without an error."""
        if has_records:
            self._watch.saw_records(now)
        if now < self._next_look_mono_s:
            return
        self._next_look_mono_s = now + _LOOK_EVERY_S
        views = [self._view(consumer, partition) for partition in assignment.owned]
        complaint = self._watch.complaint(
            now, is_stable=is_stable(consumer), is_paused=assignment.is_paused, partitions=views
        )
        if complaint is not None:
            self._is_wedged = True
            raise SourceUnavailable(f"{self._info.name}: {complaint}; making a new consumer")
        self._offsets.note_idle(views, self._carried.partitions)
        for view in views:
            self._gauges.show_lag(view, self._offsets.next_offset(view), self._clock.now())
        newest = self._gauges.newest
        behind = [each for each in assignment.owned if self._backlog.is_too_old(newest(each))]
        self._backlog.shed(consumer, behind)

    def _follow_rebalance(
        self,
        consumer: KafkaConsumer,
        assignment: Assignment,
        batches: Batches,
        unreadable: Unreadable | None,
    ) -> tuple[Batches, Unreadable | None]:
        """Lets go of frames that were polled, not handed out, and now are another worker's. A live
        source begins with what is fresh: what this poll gave of new partitions is asked for again,
        or passed over. Gives what is left of the poll."""
        added = self._gauges.follow(assignment.owned, assignment.rebalances - self._rebalances)
        self._rebalances = assignment.rebalances
        self._offsets.forget_idle()
        is_live = self._options.max_age_s is not None
        if is_live:
            batches, unreadable = ask_again(consumer, added, batches, unreadable)
            self._backlog.shed(consumer, added)
        with kafka_errors(self._options.address):
            self._caution.begin(consumer, assignment.generations)
            places = {} if is_live else self._offsets.go_on(consumer, assignment.owned)
        if places:
            self._caution.note_passed(places)
            batches, unreadable = without(places, batches, unreadable)
        self._carried.keep_current(assignment)
        return batches, unreadable

    def _view(self, consumer: KafkaConsumer, partition: Partition) -> PartitionView:
        there = TopicPartition(*partition)
        try:
            position = consumer.position(there, timeout_ms=0)
        except KafkaError:
            position = None
        end = consumer.highwater(there)
        place = -1 if position is None else position
        return PartitionView(partition[1], place, place if end is None else end)
