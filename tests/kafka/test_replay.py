"""``headrace replay``: dead letters and ranges go through again, under the ids they had."""

from __future__ import annotations

import json
import signal
import threading
import time
import uuid
from collections import Counter

import pytest
from kafka import KafkaProducer

from pipeline.config import (
    DecodeSettings,
    LifecycleSettings,
    ModelSettings,
    ServerSettings,
    Settings,
)
from pipeline.kafka.address import KafkaAddress
from pipeline.kafka.cluster import open_cluster
from pipeline.kafka.connection import create_topic
from pipeline.summary import Summary
from pipeline.worker import Worker
from tests.cli.headrace import headrace
from tests.flow.process import Headrace
from tests.kafka.broker import LocalBroker
from tests.kafka.row import Row
from tests.kafka.topics import PICTURES, Topics, body
from tests.support import wait_until

pytestmark = pytest.mark.kafka


def work(topics: Topics, registry: str, frames: int, most_bytes: int = 1 << 20) -> Summary:
    """A worker that takes so many frames; larger pictures than ``most_bytes`` are rejected."""
    settings = Settings(
        sources=(topics.source,),
        sinks=(topics.sink,),
        decode=DecodeSettings(max_image_bytes=most_bytes),
        model=ModelSettings(name="tiny", registry=registry),
        server=ServerSettings(enabled=False),
        lifecycle=LifecycleSettings(max_frames=frames),
    )
    summary = Worker(settings).run()
    assert summary.error is None
    return summary


def url(topics: Topics, topic: str) -> str:
    return f"kafka://{topics.servers}/{topic}"


def replay(topics: Topics, topic: str, *more: str) -> dict:
    ran = headrace("replay", url(topics, topic), *more, "--json")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def outcomes(rows: list[Row]) -> dict[str, list[str]]:
    """Of each id the outcomes, in the order in which they were written."""
    found: dict[str, list[str]] = {}
    for row in sorted(rows, key=lambda row: body(row)["scored_at"]):
        found.setdefault(row.headers["ce_id"].decode(), []).append(body(row)["outcome"])
    return found


def send_letters(topics: Topics, reasons: list[str], source: str = "", stream: str = "") -> None:
    """Dead letters as a worker writes them, of frames that never were: of eight streams, or one."""
    create_topic(KafkaAddress((topics.servers,), topics.dead_letters), partitions=2)
    producer = KafkaProducer(bootstrap_servers=topics.servers, linger_ms=20)
    futures = [
        producer.send(
            topics.dead_letters,
            PICTURES[0],
            key=(stream or f"cam-{number % 8}").encode(),
            headers=[
                ("hr-dlq-reason", reason.encode()),
                ("hr-dlq-topic", (source or topics.name).encode()),
                ("hr-dlq-partition", b"0"),
                ("hr-dlq-offset", str(number).encode()),
            ],
        )
        for number, reason in enumerate(reasons)
    ]
    for future in futures:
        future.get(30)
    producer.close(timeout=10)


def origins(topics: Topics) -> Counter[str]:
    """Of the frames that were put back, how often each was."""
    return Counter(row.headers["hr-origin"].decode() for row in topics.read(topics.name))


def test_what_was_rejected_is_scored_under_its_id_once_the_reason_is_mended(
    topics: Topics, registry: str
) -> None:
    traced = ("traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01")
    sent = topics.send(PICTURES, headers=[traced])
    assert work(topics, registry, len(sent), most_bytes=100).rejected == len(sent)
    done = replay(topics, topics.dead_letters)
    assert done["replayed"] == len(sent)
    assert done["by_reason"] == {"too_many_bytes": len(sent)}
    assert done["by_topic"] == {topics.name: len(sent)}
    assert (done["unknown"], done["dry_run"], done["remembered"]) == (0, False, True)
    before = topics.read(topics.name)[: 2 * len(sent)]
    assert work(topics, registry, len(sent)).scored == len(sent)
    rows = topics.read(topics.results)
    assert outcomes(rows) == {frame_id: ["rejected", "scored"] for frame_id in sent}
    first = {body(row)["frame_id"]: row for row in rows if body(row)["outcome"] == "rejected"}
    for row in rows:
        was, now = body(first[body(row)["frame_id"]]), body(row)
        assert now["stream"] == was["stream"]
        assert now["captured_at"] == was["captured_at"]
        assert now["trace_id"] == "a" * 32
        assert now["source"]["partition"] == was["source"]["partition"]
        if now["outcome"] == "scored":  # and where it was read from is told as well
            assert now["source"]["offset"] != was["source"]["offset"]
    # The frames themselves came back as they were: beside each one its copy.
    pairs = Counter((row.key, row.value, row.headers["traceparent"]) for row in before)
    assert set(pairs.values()) == {2}
    assert not [name for row in before for name in row.headers if name.startswith("hr-dlq-")]


def test_a_dead_letter_is_put_through_once_and_again_only_if_it_is_rejected_again(
    topics: Topics, registry: str
) -> None:
    (frame_id,) = topics.send([b"no picture"])
    for _ in range(3):
        work(topics, registry, 1)
        assert replay(topics, topics.dead_letters)["replayed"] == 1
        assert replay(topics, topics.dead_letters)["replayed"] == 0
    assert outcomes(topics.read(topics.results)) == {frame_id: ["rejected"] * 3}
    again = replay(topics, topics.dead_letters, "--from", "earliest")
    assert again["replayed"] == 3
    assert replay(topics, topics.dead_letters)["replayed"] == 0


def test_reasons_are_counted_chosen_and_remembered_each(topics: Topics) -> None:
    send_letters(topics, ["corrupt", "empty"] * 10 + ["corrupt"] * 5)
    counted = replay(topics, topics.dead_letters, "--dry-run")
    assert (counted["replayed"], counted["dry_run"]) == (25, True)
    assert not counted["remembered"]
    assert counted["by_reason"] == {"corrupt": 15, "empty": 10}
    assert topics.count(topics.name) == 0
    some = replay(topics, topics.dead_letters, "--reason", "empty")
    assert (some["replayed"], some["skipped"]["other_reason"]) == (10, 15)
    send_letters(topics, ["empty"] * 2)
    some = replay(topics, topics.dead_letters, "--reason", "empty", "--reason", "bad_output")
    assert some["replayed"] == 2
    rest = replay(topics, topics.dead_letters)
    assert (rest["by_reason"], rest["skipped"]["replayed_before"]) == ({"corrupt": 15}, 12)
    assert topics.count(topics.name) == 27
    waiting = headrace(
        "status", f"{url(topics, topics.dead_letters)}?group=headrace-replay", "--json"
    )
    assert json.loads(waiting.out)["lag"] == 0


def test_a_range_of_a_topic_is_scored_again_under_the_same_ids(
    topics: Topics, registry: str
) -> None:
    sent = topics.send(PICTURES, streams=0)
    work(topics, registry, len(sent))
    held = Counter(int(each.split("/")[1]) for each in sent)
    partition, count = held.most_common(1)[0]
    where = ("--partition", str(partition), "--from", "1", "--to", str(count))
    done = replay(topics, topics.name, *where)
    assert (done["replayed"], done["by_reason"]) == (count - 1, {})
    assert work(topics, registry, count - 1).scored == count - 1
    found = outcomes(topics.read(topics.results))
    assert set(found) == set(sent)
    twice = {frame_id for frame_id, said in found.items() if len(said) == 2}
    assert twice == {f"{topics.name}/{partition}/{offset}" for offset in range(1, count)}
    rows = [row for row in topics.read(topics.results) if body(row)["frame_id"] in twice]
    assert {row.key for row in rows} == {f"{topics.name}-{partition}".encode()}


def test_moments_choose_a_range_of_all_partitions_that_goes_to_another_topic(
    topics: Topics,
) -> None:
    for minute in range(3):
        topics.send(PICTURES, timestamp_ms=1_767_225_600_000 + 60_000 * minute)
    other = Topics(topics.servers)
    moments = ("--from", "2026-01-01T00:01:00Z", "--to", "2026-01-01T01:02:00+01:00")
    done = replay(topics, topics.name, url(other, other.name), *moments)
    assert (done["replayed"], done["by_topic"]) == (len(PICTURES), {other.name: len(PICTURES)})
    for row in other.read(other.name):
        assert row.headers["hr-origin"].decode().startswith(f"{topics.name}/")
        assert row.headers["ce_time"] == b"2026-01-01T00:01:00.000000Z"


def test_a_replay_into_its_own_topic_ends(topics: Topics) -> None:
    sent = topics.send_pictures(300)
    assert replay(topics, topics.name, "--from", "earliest")["replayed"] == 300
    assert topics.count(topics.name) == 600
    assert replay(topics, topics.name, "--from", "earliest")["replayed"] == 600
    found = Counter(
        row.headers["hr-origin"].decode() for row in topics.read(topics.name) if row.headers
    )
    assert found == dict.fromkeys(sent, 3)


def test_what_cannot_be_meant_is_refused_with_what_can(topics: Topics) -> None:
    send_letters(topics, ["corrupt"], source="rtsp://cam/live")
    topics.send_pictures(1)
    letters, frames = url(topics, topics.dead_letters), url(topics, topics.name)
    for arguments, said in (
        ((letters,), "which is no topic here; give the topic"),
        ((letters, letters), "can't go back to where they are read"),
        ((frames,), "is no dead letter; for a range of frames give --from"),
        ((frames, "--from", "3"), "add --partition"),
        ((frames, "--partition", "0"), "a partition alone is no range"),
        ((frames, "--partition", "9", "--from", "0"), "there is no partition 9, expected 0 to 3"),
        ((frames, "--from", "2026-01-01T00:00:00"), "has no zone"),
        ((letters, "--reason", "ugly"), "expected empty, unsupported_type"),
        ((letters, f"{frames}?create=4"), "a topic takes no options"),
        ((letters, url(topics, "nowhere")), "there is no topic 'nowhere'"),
        ((url(topics, "nowhere"),), "there is no topic 'nowhere'"),
    ):
        ran = headrace("replay", *arguments)
        assert (ran.code, ran.out) == (2, ""), arguments
        assert said in ran.err.replace("\n", " "), arguments
    assert topics.count(topics.name) == 1
    # Nothing was passed over: told where to, it goes.
    assert replay(topics, topics.dead_letters, frames)["replayed"] == 1
    (row,) = [row for row in topics.read(topics.name) if "hr-origin" in row.headers]
    assert row.headers["hr-origin"] == b"rtsp://cam/live/0/0"


def test_what_was_sent_before_an_error_is_remembered(topics: Topics) -> None:
    send_letters(topics, ["corrupt"] * 5, stream="one")
    send_letters(topics, ["empty"], source="deleted", stream="one")
    ran = headrace("replay", url(topics, topics.dead_letters))
    assert ran.code == 2
    assert "is a frame of 'deleted', which is no topic here" in ran.err
    assert topics.count(topics.name) == 5
    done = replay(topics, topics.dead_letters, url(topics, topics.name))
    assert done["by_reason"] == {"empty": 1}


def test_a_record_that_the_target_refuses_is_an_error_and_not_passed_over(topics: Topics) -> None:
    small = f"small-{uuid.uuid4().hex[:8]}"
    with open_cluster(KafkaAddress((topics.servers,), small)) as cluster:
        config = {"num_partitions": 1, "configs": {"max.message.bytes": "200"}}
        cluster._admin.create_topics({small: config})
    send_letters(topics, ["corrupt"] * 3)
    ran = headrace("replay", url(topics, topics.dead_letters), url(topics, small))
    assert (ran.code, ran.out) == (1, "")
    assert f"{small}: a frame is larger than the topic takes" in ran.err
    assert replay(topics, topics.dead_letters)["replayed"] == 3


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_replay_that_is_ended_in_the_middle_loses_nothing(
    topics: Topics, number: signal.Signals
) -> None:
    count = 10_000
    send_letters(topics, ["corrupt"] * count)
    with Headrace("replay", url(topics, topics.dead_letters), "--json") as run:
        wait_until(lambda: topics.count(topics.name) > 500, 60)
        run.signal(number)
        code = run.end(30)
    if number == signal.SIGINT:
        assert code == 0, run.said()
        assert run.summary()["replayed"] == topics.count(topics.name)
    assert topics.count(topics.name) < count, "it was done before the signal"
    done = replay(topics, topics.dead_letters)
    assert done["replayed"] < count or number == signal.SIGKILL
    found = origins(topics)
    assert len(found) == count
    assert number == signal.SIGKILL or set(found.values()) == {1}


@pytest.mark.slow
def test_ctrl_c_ends_a_replay_whose_broker_is_away_and_the_next_one_sends_the_rest() -> None:
    count = 10_000
    with LocalBroker() as broker:
        topics = Topics(broker.address)
        send_letters(topics, ["corrupt"] * count)
        with Headrace("replay", url(topics, topics.dead_letters), "--json") as run:
            wait_until(lambda: topics.count(topics.name) > 500, 60)
            broker.freeze()
            threading.Event().wait(2)  # the outage
            before = time.monotonic()
            run.signal(signal.SIGINT)
            assert run.end(60) == 1, run.said()
            assert time.monotonic() - before < 20
        summary = run.summary()
        assert not summary["remembered"]
        if summary["unknown"]:
            said = f"whether {summary['unknown']} more frames arrived isn't known"
            assert said in run.said()
        broker.thaw()
        topics.until_led()
        replay(topics, topics.dead_letters)
        assert len(origins(topics)) == count
