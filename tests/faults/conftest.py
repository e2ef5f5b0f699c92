"""Arenas of the fault tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.arena import Arena


@pytest.fixture
def arena(kafka: str, tmp_path: Path) -> Iterator[Arena]:
    """An arena on the shared broker."""
    with Arena(kafka, tmp_path) as made:
        yield made
