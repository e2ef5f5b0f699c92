"""The replay: puts dead letters, or a range of a topic, through again, as the frames they were."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from kafka import KafkaProducer
from kafka.errors import MessageSizeTooLargeError

from pipeline.clock import Clock
from pipeline.errors import ConfigError, HeadraceError, StageFailed
from pipeline.kafka.address import KafkaAddress
from pipeline.kafka.cluster import Cluster, open_cluster
from pipeline.kafka.connection import kafka_errors, require_crc32c
from pipeline.kafka.delivery import Deliveries
from pipeline.kafka.lag import Bounds
from pipeline.kafka.reading import read_ranges
from pipeline.kafka.record import Record
from pipeline.kafka.replay_memory import ReplayMemory
from pipeline.kafka.replay_plan import Choice, check_choice, plan, plan_news
from pipeline.kafka.replayed import Again, Letter, again, letter_of
from pipeline.types import Position

log = logging.getLogger(__name__)

_REMEMBER_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """``target`` is where frames go instead of where they came from; ``reasons``, if there are
    any, choose among dead letters; a dry run only counts."""

    target: KafkaAddress | None = None
    choice: Choice = field(default_factory=Choice)
    reasons: frozenset[str] = frozenset()
    is_dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Replayed:
    """What was done so far, in records. ``replayed`` were acknowledged (in a dry run: would be
    sent); of ``unknown`` nobody knows, as the broker didn't answer when the replay was stopped. If
    it ``is_remembered``, the next replay of the topic goes on there."""

    total: int = 0
    read: int = 0
    replayed: int = 0
    unknown: int = 0
    size_bytes: int = 0
    by_reason: Mapping[str, int] = field(default_factory=dict[str, int])
    by_topic: Mapping[str, int] = field(default_factory=dict[str, int])
    skipped: Mapping[str, int] = field(default_factory=dict[str, int])
    duration_s: float = 0.0
    is_dry_run: bool = False
    is_remembered: bool = False

    def to_json(self) -> dict[str, object]:
        """The summary of ``--json``."""
        return {
            "replayed": self.replayed,
            "unknown": self.unknown,
            "by_reason": dict(sorted(self.by_reason.items())),
            "by_topic": dict(sorted(self.by_topic.items())),
            "skipped": {why: self.skipped.get(why, 0) for why in SKIPPED},
            "bytes": self.size_bytes,
            "duration_s": round(self.duration_s, 3),
            "dry_run": self.is_dry_run,
            "remembered": self.is_remembered,
        }


SKIPPED = ("no_dead_letter", "other_reason", "bytes_left_out", "replayed_before")


class Replay:
    """Reads a fixed range without being in a group, and sends what is chosen of it.

    The range ends where the topic ended at the start, so a replay into its own topic ends, too.
    Without a choice it begins where the last replay of that topic ended: so far as all was
    acknowledged, that is remembered, every few seconds and at the end. A replay that is killed may
    send some frames twice, under the same ids.

    Owned by: the thread that calls ``run``; acknowledgements arrive on kafka-python's own.
    """

    def __init__(self, source: KafkaAddress, options: ReplayOptions, clock: Clock) -> None:
        self._source = source
        self._options = options
        self._clock = clock
        self._deliveries = Deliveries(options.target or source, clock)
        self._memory = ReplayMemory(source.topic, options.reasons)
        self._ranges: dict[int, Bounds] = {}
        self._partitions_of: Mapping[str, list[int]] = {}
        self._read = 0
        self._by_reason: Counter[str] = Counter()
        self._by_topic: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()
        self._started_mono_s = clock.monotonic()
        self._remembered_mono_s = self._started_mono_s

    def run(self, stop: threading.Event, tell: Callable[[Replayed], None]) -> Replayed:
        """Replays until the end of the range or until ``stop`` is set; ``tell`` is called with what
        was done, several times a second.

        Raises:
            ConfigError: a topic isn't there, or the choice can't be meant.
            SourceUnavailable: the cluster doesn't answer.
            StageFailed: a record was refused, or not acknowledged within a minute.
        """
        require_crc32c()
        with open_cluster(self._source) as cluster:
            self._plan(cluster)
            try:
                with self._producer() as producer:
                    self._pass_on(cluster, producer, stop, tell)
                    is_done = self._deliveries.await_all(stop)
                    # Before the producer is closed: what it gives up then isn't told from the rest.
                    done = self._done(self._deliveries.on_their_way)
            except HeadraceError:
                self._remember(cluster)
                raise
            # Without an answer it isn't tried: whoever wants to stop shall.
            is_remembered = is_done and self._remember(cluster, is_whole=not stop.is_set())
        tell(done)
        return replace(done, is_remembered=is_remembered)

    def _remember(self, cluster: Cluster, *, is_whole: bool = False) -> bool:
        """Whether the next replay goes on here. A range that was asked for says nothing of what is
        before it, and isn't remembered."""
        if self._options.is_dry_run or self._options.choice.is_range:
            return False
        ends = {number: each.end for number, each in self._ranges.items()}
        try:
            self._memory.save(cluster, ends if is_whole else None)
        except HeadraceError as error:
            log.warning("not remembered how far the replay is: %s", error)
            return False
        finally:
            self._remembered_mono_s = self._clock.monotonic()
        return True

    def _plan(self, cluster: Cluster) -> None:
        source, choice = self._source, self._options.choice
        topics = cluster.topics()
        if source.topic not in topics:
            raise ConfigError(f"{source}: there is no topic {source.topic!r}")
        numbers = topics[source.topic]
        check_choice(choice, numbers)
        bounds = cluster.bounds(source.topic, numbers)
        if choice.is_range:
            firsts = {
                edge: cluster.offsets_at(source.topic, numbers, edge.unix_s)
                for edge in (choice.begin, choice.end)
                if edge is not None and edge.offset is None and edge.unix_s
            }
            self._ranges = plan(bounds, choice, firsts)
        else:
            marks = self._memory.load(cluster, bounds)
            self._ranges = plan_news(bounds, marks, self._options.reasons)
        self._partitions_of = self._targets(topics)

    def _targets(self, topics: Mapping[str, list[int]]) -> Mapping[str, list[int]]:
        """The topics of the cluster that is written to."""
        source, target = self._source, self._options.target
        if target is None:
            return topics
        if target.servers != source.servers:
            with open_cluster(target) as cluster:
                topics = cluster.topics()
        elif target.topic == source.topic and not self._options.choice.is_range:
            raise ConfigError(f"{source}: dead letters can't go back to where they are read")
        if target.topic not in topics:
            raise ConfigError(f"{target}: there is no topic {target.topic!r}; create it first")
        return topics

    def _pass_on(
        self,
        cluster: Cluster,
        producer: KafkaProducer | None,
        stop: threading.Event,
        tell: Callable[[Replayed], None],
    ) -> None:
        with contextlib.closing(read_ranges(self._source, self._ranges, stop)) as reading:
            for records in reading:
                for record in records:
                    if not self._put(producer, record, stop):
                        return
                if self._clock.monotonic() - self._remembered_mono_s > _REMEMBER_EVERY_S:
                    self._remember(cluster)
                tell(self._done())

    def _put(self, producer: KafkaProducer | None, record: Record, stop: threading.Event) -> bool:
        """Sends a record, or counts why not; False if nobody takes it and all is to stop."""
        letter = letter_of(record)
        at = Position(record.topic, record.partition, record.offset)
        why = self._refusal(record, letter)
        frame = None
        if why is None:
            target = self._options.target
            frame = again(record, letter, target and target.topic, self._partitions_of)
            self._require_target(frame.topic, record)
            if producer and not self._deliveries.await_room(len(frame.value or b""), stop):
                return False
        self._read += 1
        self._memory.add(at)
        if frame is None:
            self._skipped[why or ""] += 1
            self._memory.finish(at)
            return True
        self._by_topic[frame.topic] += 1
        if letter is not None:
            self._by_reason[letter.reason] += 1
        if producer is not None:
            self._send(producer, frame, at)
        return True

    def _refusal(self, record: Record, letter: Letter | None) -> str | None:
        """Why a record isn't put through; None if it is."""
        options = self._options
        if letter is None:
            if options.choice.is_range:
                return "no_dead_letter" if options.reasons else None
            if not self._read:
                raise ConfigError(
                    f"{self._source}: the first record to replay is no dead letter; for a range of"
                    " frames give --from or --to, which take moments, or offsets with --partition"
                )
            return "no_dead_letter"
        if options.reasons and letter.reason not in options.reasons:
            return "other_reason"
        if letter.is_empty_shell:
            return "bytes_left_out"
        is_done = self._memory.is_done(record.partition, record.offset, letter.reason)
        return "replayed_before" if is_done else None

    def _require_target(self, topic: str, record: Record) -> None:
        if topic not in self._partitions_of:
            raise ConfigError(
                f"{record.topic}/{record.partition}/{record.offset} is a frame of {topic!r}, which"
                " is no topic here; give the topic that frames are to go to as the second URL"
            )

    def _send(self, producer: KafkaProducer, frame: Again, at: Position) -> None:
        address = replace(self._options.target or self._source, topic=frame.topic)
        try:
            with kafka_errors(address, StageFailed):
                future = producer.send(
                    frame.topic,
                    key=frame.key,
                    value=frame.value,
                    headers=frame.headers,
                    partition=frame.partition,
                )
        except MessageSizeTooLargeError as cause:
            raise StageFailed(f"{at.topic}/{at.partition}/{at.offset}: {cause}") from cause
        size_bytes = len(frame.value or b"")
        self._deliveries.follow(future, size_bytes, lambda: self._memory.finish(at), address)

    def _done(self, unknown: int = 0) -> Replayed:
        options, done = self._options, self._deliveries
        return Replayed(
            total=sum(each.end - each.start for each in self._ranges.values()),
            read=self._read,
            replayed=self._by_topic.total() if options.is_dry_run else done.records,
            unknown=unknown,
            size_bytes=done.size_bytes,
            by_reason=dict(self._by_reason),
            by_topic=dict(self._by_topic),
            skipped=dict(self._skipped),
            duration_s=self._clock.monotonic() - self._started_mono_s,
            is_dry_run=options.is_dry_run,
        )

    def _producer(self) -> contextlib.AbstractContextManager[KafkaProducer | None]:
        return contextlib.nullcontext() if self._options.is_dry_run else self._deliveries.producer()
