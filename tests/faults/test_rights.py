"""Row 12 of the matrix: rights that are taken from a worker while it works.

Nothing mends that but a person: it ends, says what it may not do, and commits nothing that isn't
written.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka.admin import ACLOperation, ResourceType

from tests.faults.arena import WINDOW, Arena
from tests.faults.guarded import AS_WORKER, GuardedBroker, guarded_broker

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

BEFORE, IN_ALL = 500, 1000


@pytest.fixture(scope="module")
def guarded() -> Iterator[GuardedBroker]:
    with guarded_broker() as broker:
        yield broker


@pytest.fixture
def arena(guarded: GuardedBroker, tmp_path: Path) -> Iterator[Arena]:
    seen_at = {guarded.address: guarded.workers_address}
    with Arena(guarded.address, tmp_path, seen_at=seen_at) as made:
        guarded.give_rights(made.topics)
        yield made


@pytest.mark.parametrize(
    ("kind", "which", "operation", "named"),
    [
        pytest.param(
            *(ResourceType.TOPIC, "results", ACLOperation.WRITE, "TopicAuthorizationFailed"),
            id="write the results",
        ),
        pytest.param(
            *(ResourceType.TOPIC, "name", ACLOperation.READ, "TopicAuthorizationFailed"),
            id="read the frames",
            marks=pytest.mark.faults,
        ),
        pytest.param(
            *(ResourceType.GROUP, "name", ACLOperation.READ, "GroupAuthorizationFailed"),
            id="be in the group",
            marks=pytest.mark.faults,
        ),
    ],
)
def test_12_a_right_that_is_revoked_ends_the_worker_with_the_reason(
    guarded: GuardedBroker,
    arena: Arena,
    kind: ResourceType,
    which: str,
    operation: ACLOperation,
    named: str,
) -> None:
    worker = arena.start(env=AS_WORKER)
    worker.until_ready()
    arena.feeder.feed(BEFORE, damaged_every=10)
    arena.until_scored(BEFORE)
    with guarded.without_right(kind, getattr(arena.topics, which), operation):
        arena.feeder.feed(IN_ALL - BEFORE)
        error = arena.ended(worker, code=2)["error"]
        assert arena.topics.committed() <= len(arena.scored_ids())
    assert "not allowed" in error
    assert named in error
    assert "Traceback" not in worker.said()
    arena.start(env=AS_WORKER)
    arena.until_all_done()
    arena.stop_all()
    verdict = arena.verdict(f"12-no-right-to-{operation.name}", most_duplicates=WINDOW)
    assert verdict.broken == []
    assert arena.topics.committed() == IN_ALL
