"""Labels in a topic: the frames that they are of come into the trainer's folder."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaProducer

from pipeline.errors import ConfigError
from pipeline.kafka.address import KafkaAddress
from pipeline.kafka.connection import create_topic
from pipeline.kafka.lag import Bounds
from tests.kafka.topics import PICTURES, Topics
from trainer.watch.kafka_labels import KafkaLabels, rounds

KNOWN = ("cat", "dog")


def say(topics: Topics, said: Sequence[tuple[str | None, object]]) -> KafkaAddress:
    """Sends labels: keys, and values as JSON."""
    address = KafkaAddress((topics.servers,), f"{topics.name}-labels")
    create_topic(address, partitions=2)
    producer = KafkaProducer(bootstrap_servers=topics.servers)
    for key, value in said:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        producer.send(address.topic, data, key=key and key.encode(), partition=0).get(30)
    producer.close(timeout=10)
    return address


def collector(topics: Topics, labels: KafkaAddress, folder: Path, most: int = 100) -> KafkaLabels:
    frames = KafkaAddress((topics.servers,), topics.name)
    return KafkaLabels(labels, frames, folder, KNOWN, most)


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.kafka
def test_labelled_frames_are_fetched_by_their_ids(kafka: str, tmp_path: Path) -> None:
    topics = Topics(kafka)
    ids = topics.send([*PICTURES, b"no picture"])
    gone = f"{topics.name}/0/999999"
    labels = say(
        topics,
        [
            (ids[0], {"label": "cat"}),
            (None, {"frame_id": ids[1], "label": "dog"}),
            (ids[2], {"label": "cat"}),
            (ids[2], {"label": "dog"}),  # on second thoughts
            (ids[3], {"label": "cow"}),
            (ids[16], {"label": "cat"}),
            (gone, {"label": "cat"}),
            ("other-topic/0/0", {"label": "cat"}),
            ("nonsense", {"label": "cat"}),
            (ids[4], b"\xff no JSON"),
            (ids[5], ["cat"]),
            (ids[6], {"class": "cat"}),
            (ids[6], b'{"a":' * 100_000),
        ],
    )
    collects = collector(topics, labels, tmp_path)
    places = collects.collect({}, threading.Event())
    assert places == {0: 13, 1: 0}

    def path(label: str, frame_id: str) -> str:
        return f"{label}/{frame_id.replace('/', '-')}.jpg"

    assert files(tmp_path) == {
        path("cat", ids[0]): PICTURES[0],
        path("dog", ids[1]): PICTURES[1],
        path("dog", ids[2]): PICTURES[2],
    }
    say(topics, [(ids[0], {"label": "dog"}), (ids[7], {"label": "cat"})])
    assert collects.collect(places, threading.Event()) == {0: 15, 1: 0}
    assert set(files(tmp_path)) == {
        *(path("dog", ids[number]) for number in (0, 1, 2)),
        path("cat", ids[7]),
    }


@pytest.mark.kafka
def test_of_many_labels_the_newest_are_looked_at(kafka: str, tmp_path: Path) -> None:
    topics = Topics(kafka)
    ids = topics.send(PICTURES)
    labels = say(topics, [(frame_id, {"label": "cat"}) for frame_id in ids])
    collector(topics, labels, tmp_path, most=6).collect({}, threading.Event())
    newest = {f"cat/{frame_id.replace('/', '-')}.jpg" for frame_id in ids[-3:]}
    assert set(files(tmp_path)) == newest  # three of each of two partitions


@pytest.mark.kafka
def test_a_topic_that_was_made_anew_is_read_from_its_start(kafka: str, tmp_path: Path) -> None:
    topics = Topics(kafka)
    ids = topics.send(PICTURES)
    labels = say(topics, [(ids[0], {"label": "cat"})])
    collects = collector(topics, labels, tmp_path)
    assert collects.collect({0: 5000, 7: 3}, threading.Event()) == {0: 1, 1: 0, 7: 3}
    assert len(files(tmp_path)) == 1


@pytest.mark.kafka
def test_labels_of_frames_whose_topic_is_not_there_are_not_lost(kafka: str, tmp_path: Path) -> None:
    topics = Topics(kafka)
    ids = topics.send(PICTURES[:1])
    labels = say(topics, [(ids[0].replace(topics.name, "misspelt"), {"label": "cat"})])
    frames = KafkaAddress((kafka,), "misspelt")
    collects = KafkaLabels(labels, frames, tmp_path, KNOWN, 9)
    with pytest.raises(ConfigError, match=r"--frames .*misspelt: there is no such topic"):
        collects.collect({}, threading.Event())


@pytest.mark.kafka
def test_no_more_pictures_are_kept_than_are_learnt_from(kafka: str, tmp_path: Path) -> None:
    topics = Topics(kafka)
    ids = topics.send(PICTURES)
    labels = say(topics, [(frame_id, {"label": "cat"}) for frame_id in ids[:4]])
    collects = collector(topics, labels, tmp_path, most=8)
    places = collects.collect({}, threading.Event())
    for frame_id in ids[4:12]:
        say(topics, [(frame_id, {"label": "dog"})])
        places = collects.collect(places, threading.Event())
    assert len(files(tmp_path)) == 8


@pytest.mark.kafka
def test_a_topic_that_is_not_there_yet_has_no_labels(kafka: str, tmp_path: Path) -> None:
    topics = Topics(kafka)
    labels = KafkaAddress((kafka,), f"{topics.name}-later")
    assert collector(topics, labels, tmp_path).collect({}, threading.Event()) == {}


@given(
    st.sets(st.tuples(st.integers(0, 2), st.integers(0, 500)), max_size=60),
    st.integers(0, 100),
    st.integers(100, 400),
)
def test_the_rounds_hold_each_wanted_offset_once_and_little_else(
    wanted: set[tuple[int, int]], start: int, end: int
) -> None:
    bounds = {0: Bounds(start, end), 1: Bounds(0, 501)}
    read: list[tuple[int, int]] = []
    for ranges in rounds(dict.fromkeys(wanted, "cat"), bounds):
        for partition, each in ranges.items():
            read += [(partition, offset) for offset in range(each.start, each.end)]
    there = {
        (partition, offset)
        for partition, offset in wanted
        if partition in bounds and bounds[partition].start <= offset < bounds[partition].end
    }
    assert there <= set(read)
    assert len(read) == len(set(read)) <= 65 * max(1, len(there))
