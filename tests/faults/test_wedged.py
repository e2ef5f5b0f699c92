"""Row 24 of the matrix: what can't be mended from inside ends, with the stacks of all threads."""

from __future__ import annotations

import pytest

from tests.faults.arena import WINDOW, Arena
from tests.faults.devices import HELD_INTERPRETER, WEDGED_POLL

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

IMPATIENT = {"HEADRACE_LIFECYCLE__STALL_TIMEOUT_S": "3"}


@pytest.mark.parametrize(
    ("plant", "code", "says"),
    [
        (WEDGED_POLL, 75, "a poll hasn't returned"),
        (HELD_INTERPRETER, 1, "Timeout"),
    ],
)
def test_24_a_worker_that_is_wedged_ends_and_the_next_one_goes_on(
    arena: Arena, plant: str, code: int, says: str
) -> None:
    arena.plants = (plant,)
    arena.feeder.feed(600)
    worker = arena.start(env=IMPATIENT)
    assert worker.end(40) == code, worker.said()  # its start, and half a minute
    assert says in worker.said()
    assert "_wedged" in worker.said() or "_score" in worker.said()  # the stack that is to blame
    arena.forget(worker)
    arena.plants = ()
    arena.start()
    arena.until_all_done()
    arena.stop_all()
    verdict = arena.verdict(f"24-{plant.rpartition('.')[2]}", most_duplicates=WINDOW)
    assert verdict.broken == []
    assert arena.topics.committed() == len(arena.feeder.log)
