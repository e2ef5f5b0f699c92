"""What Headrace does where kafka-python's producer would trap it; docs/decisions/0011 lists all."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from kafka import KafkaAdminClient

from pipeline.clock import SystemClock
from pipeline.errors import SinkUnavailable, StageFailed
from pipeline.kafka.address import KafkaAddress
from pipeline.kafka.record import MAX_RECORD_BYTES
from pipeline.metrics import Metrics
from pipeline.sink.base import Sink
from pipeline.sink.kafka import KafkaSink
from pipeline.sink.records import Outgoing, result_record
from pipeline.sink.url import make_sink
from pipeline.types import Outcome
from tests.artifacts import publish_tiny
from tests.frames import frame, scored
from tests.kafka.broker import LocalBroker
from tests.kafka.topics import Topics
from tests.support import wait_until

pytestmark = pytest.mark.kafka


@pytest.fixture
def other() -> Iterator[LocalBroker]:
    """A broker of the test's own, which it freezes."""
    with LocalBroker() as broker:
        yield broker


def sink_of(
    servers: str, form: Callable[[Outcome], Outgoing], deliver_within_s: float = 60.0
) -> KafkaSink:
    return KafkaSink(
        KafkaAddress((servers,), f"results-{uuid.uuid4().hex[:8]}"),
        form,
        SystemClock(),
        create_partitions=1,
        deliver_within_s=deliver_within_s,
    )


def row(outcome: Outcome) -> Outgoing:
    return result_record(outcome, 0.0)


def outcomes(first: int, count: int) -> list[Outcome]:
    return [scored(frame(first + number)) for number in range(count)]


def collected(sink: Sink, count: int, within_s: float = 30.0) -> list[Outcome]:
    found: list[Outcome] = []
    end = time.monotonic() + within_s
    while len(found) < count and time.monotonic() < end:
        found += sink.collect(0.5)
    return found


def write_again(sink: KafkaSink, what: Sequence[Outcome]) -> bool:
    """Whether the sink took them; one that just failed may not be able to connect yet."""
    try:
        sink.write(what)
    except SinkUnavailable:
        return False
    return True


@pytest.mark.slow
def test_after_a_batch_expired_all_is_written_again_by_a_new_producer(other: LocalBroker) -> None:
    """The old one never delivers anything again, and says nothing of most records."""
    sink = sink_of(other.address, row, deliver_within_s=2.0)
    sink.open()
    try:
        safe = outcomes(0, 5)
        sink.write(safe)
        assert collected(sink, 5) == safe
        rest = outcomes(5, 20)
        with other.frozen():
            sink.write(rest)
            with pytest.raises(SinkUnavailable):
                collected(sink, 1)
        wait_until(lambda: write_again(sink, rest), 30)
        assert collected(sink, 20) == rest
        after = outcomes(25, 3)
        sink.write(after)
        assert collected(sink, 3) == after
    finally:
        sink.close()
    topic = sink.name.rpartition("/")[2]
    ids = [each.headers["ce_id"].decode() for each in Topics(other.address, topic).read(topic)]
    once = list(dict.fromkeys(ids))
    assert once == [outcome.frame.frame_id for outcome in safe + rest + after]


@pytest.mark.slow
def test_what_was_on_its_way_when_a_later_write_fails_is_written_again(kafka: str) -> None:
    """Without its topic the producer keeps what it has, and takes nothing more; then it is given up
    for a new one, which makes the topic."""
    sink = sink_of(kafka, row)
    sink.open()
    try:
        safe = outcomes(0, 1)
        sink.write(safe)
        assert collected(sink, 1) == safe
        topic = sink.name.rpartition("/")[2]
        admin = KafkaAdminClient(bootstrap_servers=kafka)
        admin.delete_topics([topic])
        admin.close()
        written: list[Outcome] = []
        while True:
            another = outcomes(1 + len(written), 1)
            written += another
            if not write_again(sink, another):
                break
            time.sleep(0.05)
        assert len(written) > 1
        wait_until(lambda: write_again(sink, another), 30)
        assert collected(sink, len(written)) == written
    finally:
        sink.close()
    rows = Topics(kafka, topic).read(topic)
    ids = [each.headers["ce_id"].decode() for each in rows]
    assert list(dict.fromkeys(ids)) == [outcome.frame.frame_id for outcome in written]


def test_what_a_producer_holds_is_shown_until_it_is_acknowledged(kafka: str) -> None:
    metrics = Metrics()
    url = f"kafka://{kafka}/results-{uuid.uuid4().hex[:8]}"
    sink = make_sink(f"{url}?create=1", SystemClock(), metrics=metrics)

    def held_bytes() -> float | None:
        return metrics.registry.get_sample_value("headrace_producer_in_flight_bytes", {"sink": url})

    sink.open()
    try:
        assert held_bytes() == 0
        some = outcomes(0, 5)
        sink.write(some)
        records = [row(each) for each in some]
        assert held_bytes() == pytest.approx(
            sum(len(each.key) + len(each.value) for each in records), rel=0.1
        )
        assert len(collected(sink, 5)) == 5
        assert held_bytes() == 0
    finally:
        sink.close()


def test_a_record_that_no_producer_sends_is_an_error_that_says_so(kafka: str) -> None:
    sink = sink_of(kafka, lambda _: Outgoing(b"cam", bytes(MAX_RECORD_BYTES + 1), []))
    sink.open()
    with pytest.raises(StageFailed, match="larger than the 16777216 that are sent at the most"):
        sink.write(outcomes(0, 1))
    sink.close()


def test_without_crc32c_the_worker_does_not_start(kafka: str, tmp_path: Path) -> None:
    """Its checksums in Python would be 47 times slower, and nobody would know why."""
    registry = str(tmp_path / "registry")
    publish_tiny(registry)
    without = "import sys; sys.modules['crc32c'] = None; from pipeline.cli.app import main; main()"
    arguments = ("worker", "--source", Topics(kafka).source, "--sink", "null:", "--no-server")
    said = subprocess.run(
        [sys.executable, "-c", without, *arguments, "--model", "tiny", "--registry", registry],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert said.returncode == 2, said.stderr
    assert "pip install crc32c" in said.stderr
    assert "Traceback" not in said.stderr
