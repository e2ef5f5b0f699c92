"""What training decides before it computes: steps, learning rates, and when to end."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from trainer.early_stopping import EarlyStopping
from trainer.optimiser import build_optimiser
from trainer.schedule import Schedule
from trainer.settings import SCHEDULES, FitSettings
from trainer.steps import StepPlan

PLANS = st.builds(StepPlan, st.integers(1, 400), st.integers(1, 40), st.integers(1, 9))
ACCURACIES = st.lists(st.floats(0, 1), max_size=30)


@given(PLANS)
def test_each_step_is_the_mean_over_its_samples(plan: StepPlan):
    shares, steps = 0.0, 0
    for batch in range(1, plan.batches + 1):
        assert 0 < plan.share(batch) <= 1
        shares += plan.share(batch)
        if plan.ends_step(batch):
            assert shares == pytest.approx(1.0)
            shares, steps = 0.0, steps + 1
    assert shares == 0.0  # no gradient is left over
    assert steps == plan.steps


@given(st.integers(1, 400), st.integers(1, 40))
def test_without_accumulation_each_batch_is_a_step_of_weight_1_exactly(samples: int, size: int):
    plan = StepPlan(samples, size)
    assert plan.steps == plan.batches
    assert {plan.share(batch) for batch in range(1, plan.batches + 1)} == {1.0}


@st.composite
def fit_settings(draw: st.DrawFn) -> FitSettings:
    schedule = draw(st.sampled_from(SCHEDULES))
    epochs = draw(st.integers(1, 6))
    warmup = 0 if schedule == "one-cycle" else draw(st.integers(0, epochs - 1))
    return FitSettings(
        epochs=epochs,
        schedule=schedule,
        warmup_epochs=warmup,
        optimizer=draw(st.sampled_from(["sgd", "adam", "adamw"])),
        lr=draw(st.floats(1e-6, 10)),
        weight_decay=draw(st.sampled_from([0.0, 0.1])),
    )


class Course:
    """A schedule that is walked through without a network to train."""

    def __init__(self, chosen: FitSettings, steps_per_epoch: int) -> None:
        self.optimiser = build_optimiser(nn.Linear(1, 1), chosen)
        self.schedule = Schedule(self.optimiser, chosen, steps_per_epoch)
        self.steps_per_epoch = steps_per_epoch

    def epoch(self, loss: float) -> list[float]:
        rates = list[float]()
        for _ in range(self.steps_per_epoch):
            rates.append(self.schedule.learning_rate)
            self.optimiser.step()
            self.schedule.step_done()
        self.schedule.epoch_done(loss)
        return rates

    def saved(self) -> io.BytesIO:
        file = io.BytesIO()
        content = {"o": self.optimiser.state_dict(), "s": self.schedule.state_dict()}
        torch.save(content, file)
        file.seek(0)
        return file

    def restore(self, file: io.BytesIO) -> None:
        content: dict[str, Any] = torch.load(file, weights_only=True)
        self.optimiser.load_state_dict(content["o"])
        self.schedule.load_state_dict(content["s"])


@settings(deadline=None)
@given(fit_settings(), st.integers(1, 7))
def test_a_learning_rate_is_positive_and_never_above_the_one_asked_for(
    chosen: FitSettings, steps_per_epoch: int
):
    course = Course(chosen, steps_per_epoch)
    for _ in range(chosen.epochs):
        for rate in course.epoch(loss=1.0):
            assert 0 < rate <= chosen.lr * (1 + 1e-9)


@settings(deadline=None)
@given(fit_settings(), st.integers(1, 7), st.data())
def test_a_schedule_goes_on_from_its_checkpoint_with_the_very_same_rates(
    chosen: FitSettings, steps_per_epoch: int, data: st.DataObject
):
    losses = [data.draw(st.floats(0, 10)) for _ in range(chosen.epochs)]
    stop = data.draw(st.integers(0, chosen.epochs))
    straight, stopped = Course(chosen, steps_per_epoch), Course(chosen, steps_per_epoch)
    expected = [straight.epoch(loss) for loss in losses]
    rates = [stopped.epoch(loss) for loss in losses[:stop]]
    resumed = Course(chosen, steps_per_epoch)
    resumed.restore(stopped.saved())
    rates += [resumed.epoch(loss) for loss in losses[stop:]]
    assert rates == expected


@given(ACCURACIES, st.integers(1, 10), st.floats(0, 0.5))
def test_training_that_ends_early_is_not_before_patience_epochs_after_its_best(
    accuracies: list[float], patience: int, min_delta: float
):
    stopping = EarlyStopping(patience, min_delta)
    ends = next((n for n in range(len(accuracies) + 1) if stopping.is_due(accuracies[:n])), None)
    if ends is None:
        return
    assert ends > patience
    reached = max(accuracies[: ends - patience])
    assert all(accuracy <= reached + min_delta for accuracy in accuracies[ends - patience : ends])


@given(ACCURACIES, st.floats(0, 0.5))
def test_more_patience_never_ends_training_sooner(accuracies: list[float], min_delta: float):
    due = [EarlyStopping(p, min_delta).is_due(accuracies) for p in range(1, 12)]
    assert due == sorted(due, reverse=True)
