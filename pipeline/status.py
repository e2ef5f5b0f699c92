"""How far a consumer group is on its topic, asked from outside the group."""

from __future__ import annotations

from pipeline.clock import Clock
from pipeline.errors import ConfigError
from pipeline.kafka.cluster import Cluster, open_cluster
from pipeline.kafka.lag import Bounds, DeadLetters, GroupStatus, statuses, with_ages
from pipeline.kafka.reading import written_at
from pipeline.source.kafka.options import KafkaSourceOptions


def group_status(source: KafkaSourceOptions, clock: Clock) -> GroupStatus:
    """Asks the cluster for the group that ``source`` names. Joins nothing and commits nothing.
    Blocks for some seconds; for longer where a thousand partitions have records waiting.

    Raises:
        ConfigError: there is no such topic, or it may not be seen.
        SourceUnavailable: the cluster doesn't answer.
    """
    address = source.address
    with open_cluster(address) as cluster:
        topics = cluster.topics()
        if address.topic not in topics:
            raise ConfigError(f"{address}: there is no topic {address.topic!r}")
        numbers = topics[address.topic]
        committed = cluster.committed(source.group, address.topic, numbers)
        # The ends after the commits: else a quick group would be ahead of the topic.
        bounds = cluster.bounds(address.topic, numbers)
        group = cluster.group(source.group)
        letters = _dead_letters(cluster, address.dead_letters.topic, topics)
    offsets = {number: each.offset for number, each in committed.items()}
    partitions = statuses(bounds, offsets, source.start)
    waiting = {
        each.partition: Bounds(each.next_offset, each.bounds.end) for each in partitions if each.lag
    }
    found = written_at(address, waiting)
    return GroupStatus(address, group, with_ages(partitions, found, clock.now()), letters)


def _dead_letters(cluster: Cluster, topic: str, topics: dict[str, list[int]]) -> DeadLetters | None:
    if topic not in topics:
        return None
    bounds = cluster.bounds(topic, topics[topic])
    return DeadLetters(topic, sum(each.end - each.start for each in bounds.values()))
