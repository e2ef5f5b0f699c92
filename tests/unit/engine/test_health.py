from __future__ import annotations

import pytest

from pipeline.engine.health import OutputHealth, Outputs

GOOD = Outputs(frames=5000, bad=0)


@pytest.mark.parametrize(
    ("now", "before", "is_broken"),
    [
        (Outputs(64, 2), GOOD, False),  # so few are so by chance
        (Outputs(64, 3), GOOD, True),
        (Outputs(64, 64), GOOD, True),
        (Outputs(64, 0), GOOD, False),
        (Outputs(999, 3), Outputs(999, 0), False),
        (Outputs(64, 6), Outputs(5000, 50), False),
        (Outputs(64, 8), Outputs(5000, 50), True),
        (Outputs(64, 64), Outputs(), False),  # it follows none
        (Outputs(64, 64), Outputs(9, 0), False),  # or one that hardly ran
        (Outputs(64, 64), Outputs(5000, 5000), False),
    ],
)
def test_outputs_are_held_to_those_of_the_model_before(
    now: Outputs, before: Outputs, is_broken: bool
) -> None:
    assert now.is_broken(before) is is_broken


@pytest.fixture
def health() -> OutputHealth:
    """Of a second model, whose predecessor ran well."""
    made = OutputHealth()
    made.note(1, 5000, 0)
    return made


def test_a_model_that_breaks_it_is_told_of_once(health: OutputHealth) -> None:
    told: list[str] = []
    health.on_broken = lambda: told.append(health.complaint(2))
    health.note(2, 32, 0)
    assert health.complaint(2) == ""
    health.note(2, 32, 32)
    health.note(2, 32, 32)
    (complaint,) = told
    assert "32 of its first 64 outputs" in complaint
    assert "0 of 5000" in complaint
    assert health.complaint(2) == complaint


def test_the_model_after_a_broken_one_is_held_to_the_last_good_one(health: OutputHealth) -> None:
    health.note(2, 32, 32)
    health.note(3, 32, 0)
    assert health.complaint(3) == ""
    health.note(3, 32, 32)
    assert "0 of 5000" in health.complaint(3)


def test_a_model_that_hardly_ran_leaves_the_word_to_the_one_before(health: OutputHealth) -> None:
    health.note(2, 8, 0)
    health.note(3, 32, 32)
    assert "0 of 5000" in health.complaint(3)


def test_after_its_first_thousand_frames_a_model_is_not_held_to_it(health: OutputHealth) -> None:
    health.note(2, 1000, 0)
    health.note(2, 64, 64)
    assert health.complaint(2) == ""
