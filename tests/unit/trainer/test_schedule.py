from __future__ import annotations

import math

import pytest
from torch import nn

from pipeline.errors import ConfigError
from trainer.optimiser import build_optimiser
from trainer.schedule import Schedule
from trainer.settings import FitSettings

LR = 0.5
STEPS = 6


def course(epochs: int, schedule: str, warmup_epochs: int = 0) -> list[float]:
    """The learning rate of each step, for six steps an epoch."""
    settings = FitSettings(epochs=epochs, lr=LR, schedule=schedule, warmup_epochs=warmup_epochs)
    optimiser = build_optimiser(nn.Linear(1, 1), settings)
    made = Schedule(optimiser, settings, steps_per_epoch=STEPS)
    rates = list[float]()
    for _ in range(epochs * STEPS):
        rates.append(made.learning_rate)
        optimiser.step()
        made.step_done()
    return rates


def test_a_constant_rate_is_the_same_float_in_each_step():
    assert course(3, "constant") == [LR] * 18


def test_a_stepped_rate_falls_tenfold_after_each_third():
    expected = [LR] * 18 + [LR / 10] * 18 + [LR / 100] * 18
    assert course(9, "step") == pytest.approx(expected)


def test_a_cosine_falls_from_the_rate_to_almost_0():
    expected = [LR * (1 + math.cos(math.pi * step / 60)) / 2 for step in range(60)]
    assert course(10, "cosine") == pytest.approx(expected)


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine", "plateau"])
def test_a_warm_up_rises_in_a_line_and_what_comes_after_is_the_schedule(schedule: str):
    rates = course(8, schedule, warmup_epochs=2)
    line = [LR * (0.01 + 0.99 * step / 12) for step in range(12)]
    assert rates[:12] == pytest.approx(line)
    assert rates[12:] == pytest.approx(course(6, schedule))


def test_one_cycle_rises_to_the_rate_and_ends_far_below_its_beginning():
    rates = course(10, "one-cycle")
    highest = rates.index(max(rates))
    assert highest == 17  # three tenths of sixty
    assert max(rates) == pytest.approx(LR)
    assert rates[0] == pytest.approx(LR / 25)
    assert rates[-1] < rates[0] / 1000


@pytest.mark.parametrize(("optimizer", "key"), [("sgd", "momentum"), ("adamw", "betas")])
def test_in_one_cycle_momentum_is_lowest_where_the_rate_is_highest(optimizer: str, key: str):
    settings = FitSettings(optimizer=optimizer, epochs=10, schedule="one-cycle")
    optimiser = build_optimiser(nn.Linear(1, 1), settings)
    made = Schedule(optimiser, settings, steps_per_epoch=1)
    pairs = list[tuple[float, float]]()
    for _ in range(10):
        momentum = optimiser.param_groups[0][key]
        pairs.append((made.learning_rate, momentum if key == "momentum" else momentum[0]))
        optimiser.step()
        made.step_done()
    assert max(pairs)[1] == min(momentum for _, momentum in pairs) == pytest.approx(0.85)


def test_on_a_plateau_of_the_held_out_loss_the_rate_falls_after_four_epochs():
    settings = FitSettings(lr=LR, schedule="plateau")
    optimiser = build_optimiser(nn.Linear(1, 1), settings)
    made = Schedule(optimiser, settings, steps_per_epoch=1)
    rates = list[float]()
    for loss in (2.0, 1.0, 1.0, 1.1, 1.2, 1.0, 0.9):
        optimiser.step()
        made.step_done()
        made.epoch_done(loss)
        rates.append(made.learning_rate)
    assert rates == pytest.approx([LR] * 5 + [LR / 10] * 2)


def test_both_groups_of_a_network_that_decays_follow():
    settings = FitSettings(epochs=4, schedule="cosine", weight_decay=0.1)
    optimiser = build_optimiser(nn.Linear(2, 2), settings)
    made = Schedule(optimiser, settings, steps_per_epoch=1)
    for _ in range(2):
        optimiser.step()
        made.step_done()
    assert [group["lr"] for group in optimiser.param_groups] == [made.learning_rate] * 2
    assert made.learning_rate == pytest.approx(0.005)


def test_one_cycle_goes_on_over_as_many_steps_as_it_was_begun_with():
    network, settings = nn.Linear(2, 2), FitSettings(schedule="one-cycle", epochs=4)
    begun = Schedule(build_optimiser(network, settings), settings, steps_per_epoch=2)
    Schedule(build_optimiser(network, settings), settings, steps_per_epoch=2).load_state_dict(
        begun.state_dict()
    )
    more = Schedule(build_optimiser(network, settings), settings, steps_per_epoch=3)
    with pytest.raises(ConfigError, match=r"over 8 steps, and would now have 12: .*as many proc"):
        more.load_state_dict(begun.state_dict())
