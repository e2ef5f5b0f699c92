"""``headrace feed``, and what people do wrong with Kafka."""

from __future__ import annotations

import hashlib
import signal
import socket
import threading
import time
import uuid
from pathlib import Path

import pytest
from kafka import KafkaAdminClient

from tests.artifacts import publish_tiny
from tests.flow.process import Headrace
from tests.kafka.broker import LocalBroker
from tests.kafka.topics import PICTURES, Topics, judge
from tests.support import wait_until

pytestmark = pytest.mark.kafka

PACED = ("--create", "--fps", "20", "--count", "31", "--json")


def said(expected_code: int, *arguments: str) -> str:
    with Headrace(*arguments) as run:
        assert run.end(90) == expected_code, run.said()
        assert "Traceback" not in run.said()
        return run.said()


def test_a_video_is_fed_under_several_names_and_scored(
    kafka: str, clips: Path, tmp_path: Path
) -> None:
    topic = f"fed-{uuid.uuid4().hex[:8]}"
    url = f"kafka://{kafka}/{topic}"
    clip = str(clips / "bikes.mp4")
    with Headrace(
        "feed", clip, url, "--create", "--streams", "2", "--count", "30", "--json"
    ) as feed:
        assert feed.end(90) == 0, feed.said()
        assert feed.summary()["sent"] == 60
    topics = Topics(kafka, topic)
    frames = topics.read(topic)
    assert {frame.key for frame in frames} == {b"bikes-0", b"bikes-1"}
    for frame in frames:
        assert frame.value.startswith(b"\xff\xd8\xff")
        assert frame.headers["hr-sha256"].decode() == hashlib.sha256(frame.value).hexdigest()
        assert frame.headers["content-type"] == b"image/jpeg"
    registry = str(tmp_path / "registry")
    publish_tiny(registry)
    worker = ("worker", "--source", topics.source, "--sink", f"{topics.sink}?create=2")
    model = ("--model", "tiny", "--registry", registry, "--no-server", "--max-frames", "60")
    with Headrace(*worker, *model, "--json") as run:
        assert run.end(90) == 0, run.said()
        assert run.summary()["scored"] == 60
    ids = [f"{topic}/{frame.partition}/{frame.offset}" for frame in frames]
    verdict = judge(ids, topics.read(topics.results))
    assert (verdict.lost, verdict.phantom, verdict.out_of_order) == (frozenset(), frozenset(), 0)


def test_a_paced_feed_takes_its_time(kafka: str) -> None:
    url = f"kafka://{kafka}/paced-{uuid.uuid4().hex[:8]}"
    with Headrace("feed", "synthetic:digits", url, *PACED) as run:
        assert run.end(60) == 0, run.said()
        assert run.summary()["sent"] == 31
        assert run.summary()["duration_s"] >= 1.5


def test_what_is_missing_is_said_with_what_to_do(kafka: str, tmp_path: Path) -> None:
    nowhere = f"kafka://{kafka}/nowhere"
    assert "--create makes it" in said(2, "feed", "synthetic:digits", nowhere)
    registry = str(tmp_path / "registry")
    publish_tiny(registry)
    model = ("--model", "tiny", "--registry", registry, "--no-server")
    complaint = said(2, "worker", "--source", nowhere, "--sink", "null:", *model)
    assert "there is no topic 'nowhere'" in complaint
    assert "headrace feed --create" in complaint
    complaint = said(2, "worker", "--source", "synthetic:digits", "--sink", nowhere, *model)
    assert "?create=PARTITIONS" in complaint


def test_a_broker_that_is_away_is_said_within_seconds() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    before = time.monotonic()
    complaint = said(1, "feed", "synthetic:digits", f"kafka://{address}/t")
    assert "no broker answers" in complaint
    assert time.monotonic() - before < 30


def test_a_frame_that_the_topic_does_not_take_is_an_error_with_the_setting(
    kafka: str, tmp_path: Path
) -> None:
    """A topic of somebody else's, with Kafka's limit of 1 MiB, and a picture of more."""
    topic = f"small-{uuid.uuid4().hex[:8]}"
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    admin.create_topics({topic: {"num_partitions": 1, "configs": {"max.message.bytes": "1048576"}}})
    admin.close()
    large = PICTURES[0] + bytes(2 << 20)
    (tmp_path / "large.jpg").write_bytes(large)
    complaint = said(1, "feed", f"dir:{tmp_path}", f"kafka://{kafka}/{topic}")
    assert "max.message.bytes" in complaint


@pytest.mark.slow
@pytest.mark.parametrize("outage", ["frozen", "killed"])
def test_ctrl_c_ends_a_feed_whose_broker_is_away_and_says_what_is_unknown(outage: str) -> None:
    with LocalBroker() as broker:
        topics = Topics(broker.address)
        url = f"kafka://{broker.address}/{topics.name}"
        with Headrace("feed", "synthetic:digits?fps=50", url, "--json") as feed:
            wait_until(lambda: topics.count(topics.name) > 50, 60)
            broker.freeze() if outage == "frozen" else broker.kill()
            threading.Event().wait(2)  # the outage
            before = time.monotonic()
            feed.signal(signal.SIGINT)
            assert feed.end(60) == 1, feed.said()
            assert time.monotonic() - before < 10
        summary = feed.summary()
        assert summary["unknown"] > 0
        assert f"whether {summary['unknown']} more frames arrived isn't known" in feed.said()
        broker.thaw()
        broker.start_again()
        topics.until_led()
        # All that was acknowledged is there, and nothing that isn't in the summary.
        there = topics.count(topics.name)
        assert summary["sent"] <= there <= summary["sent"] + summary["unknown"]


def test_ctrl_c_ends_a_feed_when_all_is_acknowledged(kafka: str) -> None:
    topics = Topics(kafka)
    url = f"kafka://{kafka}/{topics.name}"
    with Headrace("feed", "synthetic:digits?fps=50", url, "--json") as feed:
        wait_until(lambda: topics.count(topics.name) > 20, 60)
        feed.signal(signal.SIGINT)
        assert feed.end(60) == 0, feed.said()
    summary = feed.summary()
    assert summary["unknown"] == 0
    assert summary["sent"] == topics.count(topics.name)
