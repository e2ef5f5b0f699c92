"""A consumer as it is made here: the options of a group's member, and where they come from."""

from __future__ import annotations

from typing import Any

from kafka import KafkaConsumer
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.future import Future

from pipeline.kafka.connection import connection_options
from pipeline.kafka.record import MAX_RECORD_BYTES
from pipeline.source.kafka.options import KafkaSourceOptions

_MOST_BETWEEN_POLLS_S = 60.0
"""An intake that hangs goes on sending heartbeats, so others get its partitions only after this;
and a rebalance waits no longer for it. kafka-python's default is five minutes."""
_FETCH_WAIT_MS = 20
"""kafka-python's default of 500 makes the tenth-slowest poll take 200 ms; this one 7 ms."""
_LOOK_AT_TOPIC_EVERY_S = 30.0
"""So late are partitions found that were added. kafka-python's default is five minutes."""

_SHORTEST_WAIT_S = 0.05


def make_consumer(options: KafkaSourceOptions) -> KafkaConsumer:
    """Connects a consumer, which has joined no group yet. Blocks up to ten seconds.

    Raises:
        KafkaError: no broker answers, or none lets us in.
    """
    consumer = KafkaConsumer(
        **connection_options(options.address),
        metrics_enabled=False,
        group_id=options.group,
        enable_auto_commit=False,
        # Not by itself: it tells nobody what it skips.
        auto_offset_reset="none",
        allow_auto_create_topics=False,
        partition_assignment_strategy=[CooperativeStickyAssignor],
        session_timeout_ms=int(options.session_s * 1000),
        max_poll_interval_ms=int(max(_MOST_BETWEEN_POLLS_S, options.session_s) * 1000),
        heartbeat_interval_ms=int(options.session_s * 1000 / 5),
        metadata_max_age_ms=int(_LOOK_AT_TOPIC_EVERY_S * 1000),
        # Also of the group's own offsets: what a transaction is about to commit is waited for.
        isolation_level="read_committed" if options.slot else "read_uncommitted",
        fetch_max_wait_ms=_FETCH_WAIT_MS,
        fetch_max_bytes=MAX_RECORD_BYTES,
        max_partition_fetch_bytes=MAX_RECORD_BYTES,
    )
    _never_spin(consumer)
    _tell_of_the_commit_itself(consumer)
    _finish_what_was_begun(consumer)
    _lose_all_when_thrown_out(consumer)
    _claim_what_is_owned(consumer)
    return consumer


def forget_asked_offsets(consumer: Any) -> None:
    """Has the group's offsets asked for anew. A question that a poll didn't wait for is kept by
    kafka-python 3.0.12, and its answer is taken for that of the next question for the same
    partitions, though these were another's in between: it would begin behind what that one did."""
    consumer._coordinator._offset_fetch_futures.clear()


def _never_spin(consumer: Any) -> None:
    """While a heartbeat is overdue, as its broker doesn't answer, kafka-python 3.0.12 waits for
    records no time at all, again and again: a core is busy, and what each round leaves with the
    fetch that is out (futures, an error and its frames) takes ten megabytes a second."""
    coordinator = consumer._coordinator
    due_s = coordinator.time_to_next_poll

    def time_to_next_poll() -> float:
        return max(_SHORTEST_WAIT_S, due_s())

    coordinator.time_to_next_poll = time_to_next_poll


def _tell_of_the_commit_itself(consumer: Any) -> None:
    """While it doesn't know the group's coordinator, kafka-python 3.0.12 answers for a commit when
    it has found one: the commit follows, and what becomes of it is told to nobody. One that the
    new coordinator refused would count as done, and never be sent again."""
    coordinator = consumer._coordinator
    commit = coordinator.commit_offsets_async

    def commit_offsets_async(offsets: Any, callback: Any = None) -> Future[Any]:
        if not coordinator.coordinator_unknown():
            return commit(offsets, callback)
        done: Future[Any] = Future()

        def send(_: object) -> None:
            sent = coordinator._do_commit_offsets_async(offsets, callback)
            sent.add_callback(done.success)
            sent.add_errback(done.failure)

        found = coordinator.lookup_coordinator()
        found.add_callback(send)
        found.add_errback(done.failure)
        return done

    coordinator.commit_offsets_async = commit_offsets_async


def _finish_what_was_begun(consumer: Any) -> None:
    """A join is over when a poll has seen its end. Whether to look, kafka-python 3.0.12 asks by the
    reason to join; where that was new metadata it is gone as soon as the leader has chosen, and a
    member whose poll ended then waits for ever: no heartbeat, no commit, no records."""
    coordinator = consumer._coordinator
    has_reason = coordinator.need_rejoin

    def need_rejoin() -> bool:
        return coordinator.rejoining or has_reason()

    coordinator.need_rejoin = need_rejoin


def _lose_all_when_thrown_out(consumer: Any) -> None:
    """Whom the broker throws out while it joins again, kafka-python 3.0.12 lets join as a new
    member that keeps its partitions and its places in them, behind what others did meanwhile: it
    has prepared for the join, and doesn't ask again what it lost."""
    coordinator = consumer._coordinator
    reset = coordinator.reset_generation

    def reset_generation(*member_id: str, **more: str) -> None:
        reset(*member_id, **more)
        coordinator.rejoining = False

    coordinator.reset_generation = reset_generation


def _claim_what_is_owned(consumer: Any) -> None:
    """A member tells its group which partitions it has. kafka-python 3.0.12 tells what was given to
    it last, though all was lost since: claimed by two, a partition is one's before the other has
    let go of it, and what that one commits on letting go takes the group back."""
    (assignor,) = consumer._coordinator._assignors.values()
    tell = assignor.metadata

    def metadata(topics: Any) -> Any:
        assignor.member_assignment = sorted(consumer._subscription.assigned_partitions())
        return tell(topics)

    assignor.metadata = metadata
