from __future__ import annotations

import pytest

from pipeline.artifact.manifest import Contract
from pipeline.engine.active import ActiveModel, ActiveSlot
from pipeline.engine.pause import TurnTimes
from pipeline.types import ModelIdentity
from tests.artifacts import LABELS, SPEC
from tests.unit.engine.test_torchscript import SmallEngine


def test_the_pause_is_what_the_longest_batch_took_more_than_usual() -> None:
    turns = TurnTimes()
    for _ in range(10):
        turns.note(4, 0.010, epoch=1)
    watch = turns.watch()
    turns.note(4, 0.012, epoch=1)
    turns.note(4, 0.035, epoch=1)
    turns.note(4, 0.011, epoch=2)
    assert watch.pause_s == pytest.approx(0.025)


def test_larger_batches_are_compared_with_their_like() -> None:
    turns = TurnTimes()
    turns.note(1, 0.001, epoch=1)
    turns.note(32, 0.050, epoch=1)
    watch = turns.watch()
    turns.note(32, 0.051, epoch=2)
    assert watch.pause_s == pytest.approx(0.001)


def test_a_size_that_is_new_is_compared_with_all() -> None:
    turns = TurnTimes()
    for _ in range(3):
        turns.note(1, 0.010, epoch=1)
    watch = turns.watch()
    turns.note(2, 0.015, epoch=2)
    assert watch.pause_s == pytest.approx(0.005)


def test_the_pause_of_a_load_that_goes_on_for_thousands_of_batches_is_known() -> None:
    turns = TurnTimes()
    turns.note(4, 0.010, epoch=1)
    watch = turns.watch()
    turns.note(4, 0.050, epoch=1)
    for _ in range(5000):
        turns.note(4, 0.010, epoch=1)
    assert watch.pause_s == pytest.approx(0.040)


def test_without_batches_there_was_nothing_to_feel() -> None:
    turns = TurnTimes()
    watch = turns.watch()
    assert watch.pause_s == 0
    turns.note(1, 0.1, epoch=1)
    assert watch.pause_s == 0
    assert turns.watch().pause_s == 0


def test_it_is_known_whether_a_model_has_run() -> None:
    turns = TurnTimes()
    assert not turns.has_run(1)
    turns.note(1, 0.1, epoch=2)
    assert turns.has_run(1)
    assert turns.has_run(2)
    assert not turns.has_run(3)


def model(epoch: int) -> ActiveModel:
    return ActiveModel(
        ModelIdentity("m", 1, "0" * 64, epoch), SmallEngine(1), Contract.of(LABELS, SPEC), {1: 0.1}
    )


def test_epochs_must_rise() -> None:
    slot = ActiveSlot(model(1))
    first, second = slot.model, model(2)
    assert slot.exchange(second) is first
    assert slot.model is second
    with pytest.raises(ValueError, match="epochs must rise"):
        slot.exchange(model(2))
