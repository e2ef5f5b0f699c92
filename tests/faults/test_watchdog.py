"""Row 24 of the matrix: threads that hang where no error says so."""

from __future__ import annotations

import pytest

from tests.faults.arena import WINDOW, Arena
from tests.faults.devices import HOLDS_THE_GIL, WEDGED_SOURCE
from tests.support import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(300)]

ANOTHERS_WITHIN_S = 150
"""A minute without a poll, a rebalance, and the frames themselves."""


@pytest.mark.parametrize("plant", [HOLDS_THE_GIL, WEDGED_SOURCE])
def test_24_what_a_hanging_worker_has_is_anothers_after_a_while(arena: Arena, plant: str) -> None:
    """After its session, or after a minute without a poll; whether a supervisor kills it or not."""
    arena.plants = (plant,)
    hanging = arena.start()
    arena.feeder.feed(3000)
    wait_until(lambda: arena.scored() > 0, 60)
    arena.plants = ()
    arena.start()
    arena.until_all_done(ANOTHERS_WITHIN_S)
    arena.kill(hanging)
    arena.stop_all()
    verdict = arena.verdict(f"24-{plant.partition('.')[2]}", most_duplicates=WINDOW)
    assert verdict.broken == []
    assert arena.topics.committed() == len(arena.feeder.log)
