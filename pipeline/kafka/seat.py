"""A strict worker's seat: its place in a consumer group, and the name under which it writes."""

from __future__ import annotations

from collections.abc import Callable

from kafka.structs import ConsumerGroupMetadata, MemberState

from pipeline.kafka.address import KafkaAddress
from pipeline.metrics import ConsumerMetrics
from pipeline.types import Position


class Seat:
    """What a transaction must know of the consumer whose offsets it commits.

    ``source`` is where the frames come from, ``group`` the consumer group and ``slot`` the name of
    this worker's place in it, which no other running worker has. ``is_current`` tells whether a
    frame was polled in its partition's present assignment to this worker; ``metrics`` are the
    consumer's, to whose commits the transactions count.

    Thread-safe: the source's thread changes who we are, the sink's asks.
    """

    def __init__(
        self,
        source: KafkaAddress,
        group: str,
        slot: str,
        is_current: Callable[[Position], bool],
        metrics: ConsumerMetrics,
    ) -> None:
        self.source = source
        self.group = group
        self.slot = slot
        self.is_current = is_current
        self.metrics = metrics
        self._ask: Callable[[], ConsumerGroupMetadata] | None = None

    @property
    def transactional_id(self) -> str:
        """The name under which Kafka knows the producer: the newest one of a name fences others."""
        return f"{self.group}-{self.slot}"

    def take(self, ask: Callable[[], ConsumerGroupMetadata]) -> None:
        """A new consumer sits here; ``ask`` says which member of the group it is by now."""
        self._ask = ask

    def leave(self) -> None:
        """The consumer is gone."""
        self._ask = None

    def member(self) -> ConsumerGroupMetadata | None:
        """The member that we are; None unless the group is stable.

        Who asks this first and ``is_current`` then, knows that the member had the partition: a
        partition is lost before its consumer can be another member. A metadata without a member's
        id is never given, as the broker takes offsets with that from anybody.
        """
        ask = self._ask
        member = None if ask is None else ask()
        if member is None or member.state != MemberState.STABLE:
            return None
        return member if member.member_id and member.generation_id >= 0 else None
