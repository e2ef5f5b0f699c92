"""What connects to a cluster, and lets go of it."""

from __future__ import annotations

import threading

import pytest

from pipeline.kafka.address import KafkaAddress
from pipeline.kafka.connection import close_producer, create_topic, make_producer
from tests.kafka.broker import LocalBroker
from tests.support import wait_until

pytestmark = pytest.mark.kafka


def test_a_producer_that_can_not_deliver_is_closed_all_the_same() -> None:
    """kafka-python's own ``close`` raises where the flush takes too long, and leaves the rest."""
    before = set(threading.enumerate())
    with LocalBroker() as broker:
        address = KafkaAddress((broker.address,), "frames")
        create_topic(address, 1)
        producer = make_producer(address, deliver_within_s=300)
        producer.send(address.topic, b"first").get(10)
        with broker.frozen():
            future = producer.send(address.topic, b"second")
            close_producer(producer, flush_s=0.5)
            assert not future.is_done or future.failed()
            wait_until(lambda: not [t for t in threading.enumerate() if t not in before], 10)
