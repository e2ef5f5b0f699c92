"""Producers that are given up are gone: what they still held is never delivered behind our back."""

from __future__ import annotations

import gc
import logging
import threading

import pytest
from kafka.errors import KafkaError

from pipeline.kafka.address import KafkaAddress
from pipeline.kafka.connection import close_producer, create_topic, make_producer
from tests.kafka.broker import LocalBroker
from tests.kafka.topics import Topics
from tests.support import wait_until

pytestmark = pytest.mark.kafka


def test_a_producer_that_cannot_deliver_ends_and_delivers_nothing_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL, "kafka")  # a record's exception would hold such a socket
    with LocalBroker() as broker:
        give_up_a_record(broker)
        gc.collect()  # those sockets: here, not in the next test
        broker.start_again()
        assert [row.value for row in Topics(broker.address, "t").read("t")] == [b"first"]


def give_up_a_record(broker: LocalBroker) -> None:
    before = set(threading.enumerate())
    address = KafkaAddress((broker.address,), "t")
    create_topic(address, partitions=1)
    producer = make_producer(address, deliver_within_s=300)
    producer.send("t", b"first").get(timeout=20)
    broker.kill()
    late = producer.send("t", b"late")
    close_producer(producer)
    wait_until(lambda: not [t for t in threading.enumerate() if t not in before])
    with pytest.raises(KafkaError):
        late.get(timeout=0)
