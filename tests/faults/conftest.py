"""Arenas of the fault tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.arena import Arena


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """They judge by when things happen, so nothing runs beside them."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.alone)


@pytest.fixture
def arena(kafka: str, tmp_path: Path) -> Iterator[Arena]:
    """An arena on the shared broker."""
    with Arena(kafka, tmp_path) as made:
        yield made
