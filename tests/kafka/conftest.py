"""The broker that the Kafka tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from compose.kafka.jars import BrokerError
from tests.kafka.broker import LocalBroker


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """The bootstrap address of a broker: that of ``HEADRACE_TEST_KAFKA``, or of one started here.

    Tests share it: topics and groups are named anew by each. One that ends the broker starts a
    `LocalBroker` of its own.
    """
    address = os.environ.get("HEADRACE_TEST_KAFKA")
    if address:
        yield address
        return
    broker = LocalBroker()
    try:
        broker.start()
    except BrokerError as error:
        broker.stop()
        pytest.fail(
            f"{error}; or set HEADRACE_TEST_KAFKA to the address of a broker", pytrace=False
        )
    try:
        yield broker.address
    finally:
        broker.stop()
