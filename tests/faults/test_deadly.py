"""Row 15 of the matrix: a frame that kills who takes it."""

from __future__ import annotations

import pytest

from tests.faults.arena import WINDOW, Arena
from tests.faults.device_plants.deadly import POISON
from tests.faults.devices import DEADLY
from tests.faults.feeder import Message
from tests.faults.oracle.identity import Identity, picture
from tests.support import wait_until

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.slow,
    pytest.mark.faults,
    pytest.mark.timeout(600),
]

MOST_DEATHS = 5


def supervise(arena: Arena) -> int:
    """Starts a worker whenever one has died, until all frames are done; gives the deaths.

    That each has its row doesn't say so: one that died may have written them and not committed, and
    then they go one at a time.
    """
    for deaths in range(MOST_DEATHS + 2):
        worker = arena.start()
        wait_until(lambda: is_committed(arena) or worker.code is not None, 120)  # noqa: B023
        if worker.code is None:
            return deaths
        worker.end()
        arena.forget(worker)
    raise AssertionError(f"{MOST_DEATHS + 2} workers died")


def is_committed(arena: Arena) -> bool:
    """Whether the group is done with each frame that was sent."""
    return arena.topics.committed() == len(arena.feeder.log)


@pytest.mark.parametrize(("before", "most_deaths"), [(0, 4), (200, 5)])
def test_15_a_frame_that_kills_goes_alone_and_then_to_the_dead_letters(
    arena: Arena, before: int, most_deaths: int
) -> None:
    arena.plants = (DEADLY,)
    arena.feeder.feed(before)
    deadly = picture(Identity(59, 1, 4095)) + POISON
    arena.feeder.send([Message(deadly, b"cam-3", must_be="rejected")])
    arena.feeder.feed(300)
    assert 3 <= supervise(arena) <= most_deaths
    arena.stop_all()
    verdict = arena.verdict(f"15-deadly-after-{before}", most_duplicates=WINDOW * most_deaths)
    assert verdict.broken == []
    assert is_committed(arena)
    (letter,) = arena.letters()
    assert letter.value == deadly
    assert letter.headers["hr-dlq-reason"] == b"unfinished"
