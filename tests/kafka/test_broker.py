"""The local broker does what the other Kafka tests rely on."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic
from kafka.structs import TopicPartition

from compose.kafka.broker import Broker, running_pid
from compose.kafka.jars import STATE, BrokerError
from compose.kafka.ports import free_port
from pipeline.kafka.access import KafkaAccess
from pipeline.kafka.address import KafkaAddress
from pipeline.kafka.connection import has_topic
from pipeline.settings import load_settings
from tests.kafka.broker import LocalBroker

pytestmark = pytest.mark.kafka

RUN = Path("compose/kafka/run").resolve()
MANUAL = {"enable_auto_commit": False, "auto_offset_reset": "earliest"}
WITHIN_MS = 20_000


@pytest.fixture
def broker() -> Iterator[LocalBroker]:
    """A broker that only this test sees."""
    with LocalBroker() as started:
        yield started


def make_topic(address: str) -> str:
    """A topic of one partition under a name that no other test has."""
    name = f"frames-{uuid.uuid4().hex[:8]}"
    with closing(KafkaAdminClient(bootstrap_servers=address)) as admin:
        admin.create_topics([NewTopic(name, 1, 1)])
    return name


def produce(address: str, topic: str, value: bytes) -> int:
    """Writes one record and gives its offset."""
    size = 16 * 1024 * 1024
    with closing(KafkaProducer(bootstrap_servers=address, max_request_size=size)) as producer:
        return producer.send(topic, value).get(timeout=WITHIN_MS / 1000).offset


def consume(address: str, topic: str) -> bytes:
    """Reads a topic's first record."""
    with closing(KafkaConsumer(bootstrap_servers=address, **MANUAL)) as consumer:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        records = consumer.poll(WITHIN_MS, max_records=1)
        return records[partition][0].value


def call(*arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """``compose/kafka/run`` as a user calls it."""
    own = {**os.environ, "PYTHON": sys.executable}
    return subprocess.run(
        [str(RUN), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**own, "PATH": path} if path else own,
    )


def test_a_record_comes_back_as_it_was_sent(kafka: str) -> None:
    topic = make_topic(kafka)
    assert produce(kafka, topic, b"a frame") == 0
    assert consume(kafka, topic) == b"a frame"


def test_a_frame_of_15_mib_passes(kafka: str) -> None:
    topic = make_topic(kafka)
    frame = os.urandom(15 * 1024 * 1024)
    produce(kafka, topic, frame)
    assert consume(kafka, topic) == frame


def test_a_group_forms_and_commits_on_a_single_broker(kafka: str) -> None:
    topic = make_topic(kafka)
    produce(kafka, topic, b"a frame")
    group = f"workers-{topic}"
    partition = TopicPartition(topic, 0)
    times = {"session_timeout_ms": 2000, "heartbeat_interval_ms": 500}
    with closing(
        KafkaConsumer(bootstrap_servers=kafka, group_id=group, **times, **MANUAL)
    ) as consumer:
        consumer.partitions_for_topic(topic)  # or the join, started without metadata, may hang
        consumer.subscribe([topic])
        assert consumer.poll(WITHIN_MS)[partition][0].value == b"a frame"
        consumer.commit()
        assert consumer.committed(partition) == 1


def test_a_record_outlives_a_kill_and_a_clean_end_of_its_broker(broker: LocalBroker) -> None:
    topic = make_topic(broker.address)
    produce(broker.address, topic, b"a frame")
    address = broker.address
    for end in (broker.kill, broker.terminate):
        pid = broker.pid
        end()
        assert not psutil.pid_exists(pid)
        broker.start_again()
        assert (broker.address, broker.pid != pid) == (address, True)
        assert consume(address, topic) == b"a frame"
    assert "App info kafka.server for 1 unregistered" in broker.log.read_text()  # a clean end


def test_nothing_is_left_of_a_broker_that_is_stopped() -> None:
    with LocalBroker() as broker:
        pid, folder = broker.pid, broker.log.parent
        assert psutil.pid_exists(pid)
        broker.freeze()
    assert not psutil.pid_exists(pid)
    assert not folder.exists()


def test_the_commands_start_one_broker_and_stop_it(tmp_path: Path) -> None:
    port = str(free_port())
    data = tmp_path / "a folder"
    where = ("--data", str(data))
    try:
        first = call("start", "--port", port, *where)
        assert (first.returncode, first.stdout) == (0, f"kafka is ready at 127.0.0.1:{port}\n")
        pid = running_pid(data)
        assert call("start", "--port", port, *where).stdout == first.stdout
        assert running_pid(data) == pid
        elsewhere = call("start", "--port", str(free_port()), *where)
        assert elsewhere.returncode == 2
        assert "stop it first" in elsewhere.stderr
    finally:
        ended = call("stop", *where)
    assert "kafka is stopped" in ended.stderr
    assert running_pid(data) is None
    assert "no kafka runs" in call("stop", *where).stderr


def test_a_secure_port_comes_with_the_settings_that_get_in_there(tmp_path: Path) -> None:
    port = free_port()
    where = ("--data", str(tmp_path))
    try:
        started = call("start", "--secure", "--port", str(port), *where)
        assert started.returncode == 0, started.stderr
        assert started.stdout.splitlines()[1].startswith(f"with TLS at 127.0.0.1:{port + 2}: ")
        assert call("start", "--secure", "--port", str(port), *where).stdout == started.stdout
        settings = load_settings(tmp_path / "headrace.toml", {}).settings
        access = KafkaAccess.of(settings.kafka)
        assert not has_topic(KafkaAddress((f"127.0.0.1:{port + 2}",), "none", access))
    finally:
        call("stop", *where)


def test_a_pid_file_of_a_broker_long_gone_harms_nobody(tmp_path: Path) -> None:
    (tmp_path / "broker.pid").write_text(f"{os.getpid()}\n")
    assert running_pid(tmp_path) is None
    assert "no kafka runs" in call("stop", "--data", str(tmp_path)).stderr


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BrokerError, match=f"port {port} is taken"):
            Broker(tmp_path, port).start()


@pytest.mark.usefixtures("kafka")
def test_what_is_fetched_is_not_fetched_again() -> None:
    if not (STATE / "libs").exists():
        pytest.skip("the broker is one from elsewhere")
    said = call("fetch")
    assert (said.returncode, said.stderr) == (0, "")


@pytest.mark.parametrize(
    ("java", "reason"),
    [
        (None, "there is no java"),
        ("1.8.0_402", 'version "1.8.0_402"'),
        ("11.0.2", 'version "11.0.2"'),
    ],
)
def test_a_machine_without_the_right_java_is_told_what_to_install(
    tmp_path: Path, java: str | None, reason: str
) -> None:
    for tool in ("sh", "dirname"):
        (tmp_path / tool).symlink_to(f"/bin/{tool}")
    if java is not None:
        fake = tmp_path / "java"
        fake.write_text(f"#!/bin/sh\necho 'openjdk version \"{java}\"' >&2\n")
        fake.chmod(0o755)
    said = call("start", "--data", str(tmp_path / "data"), path=str(tmp_path))
    assert said.returncode == 2
    assert reason in said.stderr
    assert "sudo apt-get install openjdk-17-jre-headless maven" in said.stderr
    assert said.stderr.count("\n") == 1
