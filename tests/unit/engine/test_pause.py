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
    for second in range(10):
        turns.note(4, second, 0.010, epoch=1)
    watch = turns.watch(20.0)
    turns.note(4, 20.0, 0.012, epoch=1)
    turns.note(4, 21.0, 0.035, epoch=1)
    turns.note(4, 22.0, 0.011, epoch=2)
    assert watch.pause_s == pytest.approx(0.025)


def test_a_batch_that_was_under_way_is_none_of_the_swaps() -> None:
    turns = TurnTimes()
    turns.note(4, 0.0, 0.010, epoch=1)
    watch = turns.watch(20.0)
    turns.note(4, 19.9, 0.200, epoch=1)
    assert watch.pause_s == 0


def test_larger_batches_are_compared_with_their_like() -> None:
    turns = TurnTimes()
    turns.note(1, 0.0, 0.001, epoch=1)
    turns.note(32, 1.0, 0.050, epoch=1)
    watch = turns.watch(20.0)
    turns.note(32, 20.0, 0.051, epoch=2)
    assert watch.pause_s == pytest.approx(0.001)


def test_a_size_that_is_new_is_compared_with_all() -> None:
    turns = TurnTimes()
    for second in range(3):
        turns.note(1, second, 0.010, epoch=1)
    watch = turns.watch(20.0)
    turns.note(2, 20.0, 0.015, epoch=2)
    assert watch.pause_s == pytest.approx(0.005)


def test_the_pause_of_a_load_that_goes_on_for_thousands_of_batches_is_known() -> None:
    turns = TurnTimes()
    turns.note(4, 0.0, 0.010, epoch=1)
    watch = turns.watch(20.0)
    turns.note(4, 20.0, 0.050, epoch=1)
    for second in range(5000):
        turns.note(4, 21.0 + second, 0.010, epoch=1)
    assert watch.pause_s == pytest.approx(0.040)


def test_without_batches_there_was_nothing_to_feel() -> None:
    turns = TurnTimes()
    watch = turns.watch(0.0)
    assert watch.pause_s == 0
    turns.note(1, 5.0, 0.1, epoch=1)
    assert watch.pause_s == 0
    assert turns.watch(6.0).pause_s == 0


def test_it_is_known_whether_a_model_has_run() -> None:
    turns = TurnTimes()
    assert not turns.has_run(1)
    turns.note(1, 0.0, 0.1, epoch=2)
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
