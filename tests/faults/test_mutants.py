"""The suite must bite: with each of these bugs planted, the checker must say that it is there.

The same scenarios are clean without them: see the other files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults import scenarios, trials
from tests.faults.arena import Arena
from tests.faults.devices import SLOW, SLOWER, SLOWEST
from tests.kafka.broker import LocalBroker

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.slow,
    pytest.mark.timeout(600),
]


@dataclass(frozen=True, slots=True)
class Case:
    """Where a bug shows, and the promise that it breaks. ``has_one_worker``: see ``Evidence``."""

    play: Callable[[Arena], object]
    breaks: str
    device: str = SLOW
    has_one_worker: bool = False


MUTANTS = {
    "ignore_failed_future": Case(scenarios.refused_results, "forgotten"),
    "drop_on_revoke": Case(lambda arena: scenarios.handover(arena, drain_s=5), "forgotten", SLOWER),
    "commit_in_sync_listener": Case(
        lambda arena: scenarios.handover(arena, drain_s=15), "repeated", SLOWER
    ),
    "commit_the_highest": Case(
        lambda arena: scenarios.kills(arena, drain_s=15), "forgotten", SLOWER
    ),
    "name_the_newest_model": Case(lambda arena: scenarios.swaps(arena, times=8), "wrong_model"),
    "reuse_rows_early": Case(scenarios.plain_load, "wrong_frame"),
    "skip_the_signature": Case(scenarios.intruded_model, "wrong_model"),
    "trust_the_manifest": Case(scenarios.altered_model, "wrong_model"),
    "name_the_active_model": Case(trials.canary_taken_back, "wrong_model"),
    "part_the_frames": Case(trials.canary_taken_back, "epochs", has_one_worker=True),
    "keep_the_epoch": Case(trials.canary_taken_back, "epochs", has_one_worker=True),
    "reject_with_the_canary": Case(trials.canary_taken_back, "wrong_outcome"),
}

OFTEN = (
    *("ignore_failed_future", "drop_on_revoke", "name_the_newest_model", "reuse_rows_early"),
    *("skip_the_signature", "trust_the_manifest", "name_the_active_model"),
)
"""Of each promise one or two: the others are tried by `make faults`."""

STRICT_MUTANTS = {
    "strict_in_stream_order": Case(
        lambda arena: scenarios.kills(arena, drain_s=15), "forgotten", SLOWER
    ),
    "strict_for_others": Case(
        lambda arena: scenarios.handover(arena, drain_s=30), "repeated", SLOWEST
    ),
}


@pytest.mark.parametrize(
    "mutant",
    [pytest.param(name, marks=() if name in OFTEN else (pytest.mark.faults,)) for name in MUTANTS],
)
def test_a_planted_bug_is_caught(arena: Arena, mutant: str) -> None:
    case = MUTANTS[mutant]
    arena.plants = (case.device, f"mutants.{mutant}")
    arena.has_probe = False  # a process without the bug, which would cover it
    case.play(arena)
    verdict = arena.verdict(f"mutant-{mutant}", has_one_worker=case.has_one_worker)
    assert case.breaks in verdict.broken


@pytest.mark.faults
@pytest.mark.parametrize("mutant", STRICT_MUTANTS)
def test_a_bug_planted_in_strict_mode_is_caught(arena: Arena, mutant: str) -> None:
    case = STRICT_MUTANTS[mutant]
    arena.is_strict = True
    arena.plants = (case.device, f"mutants.{mutant}")
    case.play(arena)
    assert case.breaks in arena.verdict(f"mutant-{mutant}").broken


@pytest.fixture
def other() -> Iterator[LocalBroker]:
    with LocalBroker() as broker:
        yield broker


def test_a_commit_before_the_acknowledgement_is_caught(
    kafka: str, other: LocalBroker, tmp_path: Path
) -> None:
    with Arena(
        kafka, tmp_path, results_at=other.address, plants=("mutants.commit_before_ack",)
    ) as arena:
        scenarios.outage_and_kill(arena, other, drain_s=10)
        assert "forgotten" in arena.verdict("mutant-commit_before_ack").broken


def test_every_mutant_is_tried() -> None:
    there = {path.stem for path in (Path(__file__).parent / "mutants").glob("*.py")}
    with_brokers_of_their_own = {"commit_before_ack", "believe_the_commit"}  # test_two_brokers.py
    of_the_gate = {"let_the_worse_pass"}  # tests/cli/test_gate.py
    assert there == {*MUTANTS, *STRICT_MUTANTS, *with_brokers_of_their_own, *of_the_gate}
