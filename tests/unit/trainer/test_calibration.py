from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.trainer.judged import drawn, named, sure
from trainer.calibration import GREATEST_TEMPERATURE, Calibration, calibrate, fit_temperature
from trainer.evaluate import Evaluation, Predictions


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_that_logits_were_multiplied_by_is_found(temperature: float):
    assert fit_temperature(drawn(20_000, temperature)) == pytest.approx(temperature, rel=0.03)


def test_calibrated_confidences_are_nearer_to_the_share_of_right_answers():
    calibration = calibrate(drawn(20_000, 3.0))
    assert calibration.before.ece > 0.15
    assert calibration.after.ece < 0.02
    assert calibration.after.loss < calibration.before.loss
    assert torch.equal(calibration.after.confusion_kk, calibration.before.confusion_kk)
    assert "(temperature 3" in str(calibration)


@settings(deadline=None)  # LBFGS takes ten milliseconds, or fifty on a busy machine
@given(st.floats(0.3, 5), st.integers(20, 60), st.integers(0, 99))
def test_no_temperature_beside_it_has_a_lower_cross_entropy(
    temperature: float, samples: int, seed: int
):
    predictions = drawn(samples, temperature, seed)
    fitted = fit_temperature(predictions)
    least = Evaluation.of(predictions.at(fitted)).loss
    for factor in (0.97, 1.03):
        beside = fitted * factor
        if 1 / GREATEST_TEMPERATURE <= beside <= GREATEST_TEMPERATURE:
            assert least <= Evaluation.of(predictions.at(beside)).loss + 1e-7


def test_what_has_no_minimum_ends_near_a_bound():
    always_right = sure([(0.9, True)] * 20)
    always_wrong = sure([(0.9, False)] * 20)
    assert 0.1 <= fit_temperature(always_right) < 0.2
    assert 5 < fit_temperature(always_wrong) <= 10


def test_a_network_without_mistakes_is_left_as_it_is():
    predictions = named("ab", [(0, 0), (1, 1)] * 50)
    calibration = calibrate(predictions)
    assert calibration.temperature == 1
    assert calibration.after is calibration.before
    assert "too few mistakes" in str(calibration)


@pytest.mark.parametrize("samples", [0, 1])
def test_hardly_any_samples_tell_no_temperature(samples: int):
    assert calibrate(named("ab", [(0, 1)] * samples)).temperature == 1


def test_halves_that_contradict_each_other_tell_no_temperature():
    # Every second sample is of those that are 99 % sure and right half of the time, the others are
    # 60 % sure and right nine times in ten.
    bold = [(0.99, number % 2 == 0) for number in range(100)]
    timid = [(0.6, number % 10 != 0) for number in range(100)]
    calibration = calibrate(sure([row for pair in zip(bold, timid, strict=True) for row in pair]))
    assert calibration.temperature == 1
    assert "fits both halves" in str(calibration)


def test_logits_that_are_no_numbers_tell_no_temperature():
    logits_nk = torch.tensor([[float("nan"), 0.0], [1.0, 0.0], [0.0, 1.0], [2.0, 1.0]])
    predictions = Predictions(("yes", "no"), logits_nk, torch.tensor([1, 1, 0, 1]))
    assert calibrate(predictions).temperature == 1


def test_the_error_afterwards_is_of_samples_that_the_temperature_was_not_fitted_to():
    predictions = drawn(400, 3.0)
    calibration = calibrate(predictions)
    flattered = Evaluation.of(predictions.at(calibration.temperature))
    assert calibration.after.loss > flattered.loss


def test_without_calibration_the_figures_are_of_the_network_as_it_is():
    before = Evaluation.of(drawn(100, 3.0))
    calibration = Calibration.none(before)
    assert calibration.after is before
    assert "not calibrated" in str(calibration)
