"""Fixtures that the Kafka tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.artifacts import publish_tiny
from tests.kafka.topics import Topics


@pytest.fixture
def topics(kafka: str) -> Topics:
    """Topics of this test alone, on the shared broker."""
    return Topics(kafka)


@pytest.fixture
def registry(tmp_path: Path) -> str:
    """A registry with a tiny network in it."""
    publish_tiny(str(tmp_path / "registry"))
    return str(tmp_path / "registry")
