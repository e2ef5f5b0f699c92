"""Fixtures of the flow tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flow.rig import Rig


@pytest.fixture
def rig(tmp_path: Path, no_thread_left: None) -> Iterator[Rig]:
    """A rig whose workers have ended when the test has."""
    made = Rig(tmp_path)
    yield made
    made.end()
