"""The whole worker between two topics of a real broker."""

from __future__ import annotations

import os
import signal
import time
import uuid
from datetime import UTC, datetime

import httpx
import pytest
from kafka import KafkaAdminClient, KafkaProducer

from pipeline.config import (
    LifecycleSettings,
    ModelSettings,
    ServerSettings,
    Settings,
)
from pipeline.errors import ConfigError
from pipeline.kafka.address import KafkaAddress
from pipeline.kafka.connection import has_topic
from pipeline.summary import Summary
from pipeline.worker import Worker
from tests.flow.process import Headrace, samples, total
from tests.kafka.topics import PICTURES, Topics, body, digest_header, judge
from tests.support import wait_until

pytestmark = pytest.mark.kafka


def run(topics: Topics, registry: str, frames: int, source: str = "", sink: str = "") -> Summary:
    settings = Settings(
        sources=(source or topics.source,),
        sinks=(topics.sink,),
        model=ModelSettings(name="tiny", registry=registry),
        server=ServerSettings(enabled=False),
        lifecycle=LifecycleSettings(max_frames=frames),
    )
    return Worker(settings).run()


def started(topics: Topics, registry: str, source: str = "") -> Headrace:
    return Headrace(
        *("worker", "--source", source or topics.source, "--sink", topics.sink),
        *("--model", "tiny", "--registry", registry, "--port", "0", "--json"),
    )


def test_every_record_gets_one_result_in_its_streams_order(topics: Topics, registry: str) -> None:
    sent = topics.send_pictures(400)
    summary = run(topics, registry, 400)
    assert (summary.error, summary.scored) == (None, 400)
    results = topics.read(topics.results)
    verdict = judge(sent, results)
    assert (verdict.lost, verdict.phantom) == (frozenset(), frozenset())
    assert (verdict.duplicates, verdict.out_of_order) == (0, 0)
    row = body(results[0])
    assert results[0].headers["ce_id"].decode() == row["frame_id"]
    assert results[0].key == row["stream"].encode()
    assert row["source"] == {
        "topic": topics.name,
        "partition": int(row["frame_id"].split("/")[1]),
        "offset": int(row["frame_id"].split("/")[2]),
    }


def test_records_of_a_plain_producer_work(topics: Topics, registry: str) -> None:
    """No key and no headers: the stream is the partition, the capture is the record's time."""
    captured_ms = int(time.time() * 1000) - 5_000
    (frame_id,) = topics.send(PICTURES[:1], streams=0, timestamp_ms=captured_ms)
    run(topics, registry, 1)
    (row,) = [body(each) for each in topics.read(topics.results)]
    assert row["outcome"] == "scored"
    assert row["stream"] == "-".join(frame_id.split("/")[:2])
    assert 5_000 <= row["age_ms"] < 60_000
    assert row["trace_id"] is None


def test_what_can_never_work_goes_to_the_dead_letters_as_it_came(
    topics: Topics, registry: str
) -> None:
    flipped = PICTURES[0][:-100] + bytes([PICTURES[0][-100] ^ 0x10]) + PICTURES[0][-99:]
    traced = ("traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01")
    sent = topics.send([flipped], headers=[digest_header(PICTURES[0]), traced])
    sent += topics.send([b"no picture", None, b""])
    summary = run(topics, registry, 4)
    assert (summary.rejected, summary.error) == (4, None)
    letters = {
        row.headers["hr-dlq-offset"] + row.headers["hr-dlq-partition"]: row
        for row in topics.read(topics.dead_letters)
    }
    assert len(letters) == 4
    reasons = sorted(row.headers["hr-dlq-reason"].decode() for row in letters.values())
    assert reasons == ["corrupt", "empty", "empty", "unsupported_type"]
    (broken,) = [row for row in letters.values() if row.headers["hr-dlq-reason"] == b"corrupt"]
    assert broken.value == flipped
    assert broken.key == b"cam-0"
    assert broken.headers["traceparent"] == traced[1]
    assert b"sha256" in broken.headers["hr-dlq-detail"]
    results = topics.read(topics.results)
    assert judge(sent, results).lost == frozenset()
    (row,) = [
        body(each) for each in results if b"sha256" in each.value and b'"corrupt"' in each.value
    ]
    assert row["trace_id"] == "a" * 32
    assert topics.committed() == 4


def test_the_lag_ends_though_the_last_record_is_no_frame(topics: Topics, registry: str) -> None:
    """A transaction's marker takes an offset that no consumer is given."""
    producer = KafkaProducer(bootstrap_servers=topics.servers, transactional_id=topics.name)
    producer.init_transactions()
    producer.begin_transaction()
    futures = [producer.send(topics.name, each, partition=0) for each in PICTURES[:3]]
    producer.commit_transaction()
    assert [future.get(10).offset for future in futures] == [0, 1, 2]
    producer.close(timeout=10)
    with started(topics, registry) as worker:
        url = worker.until_ready()
        wait_until(lambda: topics.committed() == 4, 30)
        lag = "headrace_consumer_lag_records"
        wait_until(lambda: total(samples(httpx.get(f"{url}metrics").text), lag) == 0, 10)
        found = samples(httpx.get(f"{url}metrics").text)
        assert total(found, "headrace_consumer_lag_seconds") == 0
        assert total(found, "headrace_commit_duration_seconds_count") > 0
        assert total(found, "headrace_consumer_rebalance_duration_seconds_count") > 0
        worker.signal(signal.SIGTERM)
        assert worker.end() == 0, worker.said()
    assert topics.result_count() == 3


def test_a_second_run_goes_on_where_the_first_ended(topics: Topics, registry: str) -> None:
    sent = topics.send_pictures(120)
    assert run(topics, registry, 50).scored == 50
    assert topics.committed() == 50
    assert run(topics, registry, 70).scored == 70
    verdict = judge(sent, topics.read(topics.results))
    assert (verdict.lost, verdict.duplicates) == (frozenset(), 0)
    assert topics.committed() == 120


def test_a_live_stream_sheds_what_is_too_old_and_commits_it(topics: Topics, registry: str) -> None:
    """What is old by its record's time isn't even read; by its capture's time it gets a row."""
    long_ago = time.time() - 3_600
    old = topics.send(PICTURES, timestamp_ms=int(long_ago * 1000))
    captured = datetime.fromtimestamp(long_ago, UTC).isoformat()
    stale = topics.send(PICTURES[:4], headers=[("ce_time", captured.encode())])
    source = f"{topics.source}&mode=live&max_age=30s"
    sent = len(old) + len(stale)
    with started(topics, registry, source) as worker:
        worker.until_ready()
        wait_until(lambda: topics.committed() == sent, 30)
        new = topics.send(PICTURES[:4], streams=4)
        wait_until(lambda: topics.committed() == sent + len(new), 30)
        worker.signal(signal.SIGTERM)
        assert worker.end() == 0, worker.said()
        summary = worker.summary()
    assert summary["received"] == sent + len(new)
    assert summary["scored"] + summary["shed"] == summary["received"]
    rows = topics.read(topics.results)
    scored = [each for each in rows if body(each)["outcome"] == "scored"]
    assert {each.headers["ce_id"].decode() for each in scored} <= set(new)
    assert not {each.headers["ce_id"].decode() for each in rows} & set(old)
    assert {each.headers["ce_id"].decode() for each in rows} >= set(stale)


@pytest.mark.slow
def test_a_live_worker_behind_a_long_backlog_begins_with_what_is_fresh(
    topics: Topics, registry: str
) -> None:
    """Reading a hundred thousand records alone would take longer than the age that is allowed."""
    backlog = 100_000
    long_ago_ms = int(time.time() * 1000) - 3_600_000
    topics.send([b"old"] * backlog, timestamp_ms=long_ago_ms)
    source = f"{topics.source}&mode=live&max_age=2s"
    with started(topics, registry, source) as worker:
        worker.until_ready()
        new = topics.send(PICTURES[:4], streams=4)
        wait_until(lambda: topics.committed() == backlog + len(new), 30)
        worker.signal(signal.SIGTERM)
        assert worker.end() == 0, worker.said()
    rows = {row.headers["ce_id"].decode(): body(row) for row in topics.read(topics.results)}
    assert set(rows) <= set(new)
    assert all(row["fresh"] for row in rows.values() if row["outcome"] == "scored")
    assert worker.summary()["shed"] >= backlog


def test_a_dead_letter_that_its_topic_does_not_take_ends_the_worker_with_the_setting(
    topics: Topics, registry: str
) -> None:
    admin = KafkaAdminClient(bootstrap_servers=topics.servers)
    small = {"num_partitions": 1, "configs": {"max.message.bytes": "20000"}}
    admin.create_topics({topics.dead_letters: small})
    admin.close()
    topics.send([os.urandom(100_000)])
    summary = run(topics, registry, 1)
    assert "max.message.bytes" in str(summary.error)
    assert (summary.exit_code, summary.in_flight) == (1, 1)
    assert topics.committed() == 0


def test_a_record_that_unpacks_to_more_than_can_be_sent_leaves_its_bytes_out_of_the_dead_letter(
    topics: Topics, registry: str
) -> None:
    """32 MiB of zeros are 32 KB on the wire."""
    zeros = bytes(32 << 20)
    producer = KafkaProducer(
        bootstrap_servers=topics.servers, compression_type="gzip", max_request_size=1 << 30
    )
    producer.send(topics.name, zeros, key=b"cam").get(30)
    producer.close(timeout=10)
    good = topics.send_pictures(4)
    summary = run(topics, registry, 5)
    assert (summary.exit_code, summary.rejected, summary.scored) == (0, 1, len(good))
    assert topics.committed() == 5
    (letter,) = topics.read(topics.dead_letters)
    assert letter.value == b""
    assert int(letter.headers["hr-dlq-left-out-bytes"]) >= len(zeros)
    assert letter.headers["hr-dlq-topic"] == topics.name.encode()


def test_a_source_that_is_not_there_leaves_no_topic_behind(kafka: str, registry: str) -> None:
    topics = Topics(kafka, f"never-made-{uuid.uuid4().hex[:8]}")
    settings = Settings(
        sources=(topics.source,),
        sinks=("null:",),
        model=ModelSettings(name="tiny", registry=registry),
        server=ServerSettings(enabled=False),
    )
    assert isinstance(Worker(settings).run().error, ConfigError)
    assert not has_topic(KafkaAddress((kafka,), topics.dead_letters))
