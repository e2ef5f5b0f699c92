"""Strict mode: rows and offsets agree, whatever happens. Second half of row 7, and row 13."""

from __future__ import annotations

import pytest

from tests.faults.arena import Arena
from tests.faults.devices import SLOW
from tests.faults.scenarios import kills

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def test_1_killed_strict_workers_lose_and_double_nothing(arena: Arena) -> None:
    arena.is_strict = True
    arena.plants = (SLOW,)
    kills(arena)
    arena.stop_all()
    verdict = arena.verdict("1-strict-kills", most_duplicates=0)
    assert verdict.broken == []
    assert arena.topics.committed() == len(arena.feeder.log)
