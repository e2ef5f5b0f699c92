from __future__ import annotations

from typing import Any

import pytest

from pipeline.errors import ConfigError
from trainer.settings import FitSettings


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ({"optimizer": "lion"}, r"--optimizer is 'lion', expected sgd, adam or adamw"),
        ({"schedule": "linear"}, r"--schedule is 'linear', expected constant, .* or one-cycle"),
        ({"precision": "int8"}, r"--precision is 'int8', expected float32, bf16 or fp16"),
        ({"precision": "fp16"}, r"fp16 needs a CUDA device, and --device is cpu\. Use bf16"),
        ({"nesterov": True, "momentum": 0.0}, r"--nesterov needs a --momentum above 0"),
        ({"clip_norm": 0.0}, r"--clip-norm is 0\.0, expected a norm above 0"),
        ({"clip_norm": float("nan")}, r"--clip-norm is nan"),
        ({"epochs": 3, "warmup_epochs": 3}, r"--warmup-epochs is 3, expected fewer than the 3"),
    ],
)
def test_a_choice_that_cannot_be_is_refused_with_what_can(choice: dict[str, Any], says: str):
    with pytest.raises(ConfigError, match=says):
        FitSettings(**choice)


def test_each_optimiser_has_its_customary_values():
    def usual(optimizer: str) -> tuple[float, float]:
        settings = FitSettings.of(optimizer=optimizer, lr=None, weight_decay=None)
        return settings.lr, settings.weight_decay

    assert usual("sgd") == (0.01, 0.0)
    assert usual("adam") == (0.001, 0.0)
    assert usual("adamw") == (0.001, 0.01)
    told = FitSettings.of(optimizer="adamw", lr=0.5, weight_decay=0.0)
    assert (told.lr, told.weight_decay) == (0.5, 0.0)


def test_what_only_ends_training_is_no_part_of_a_runs_identity():
    one = FitSettings(epochs=10, patience=3, min_delta=0.1, workers=2, device="cuda:0")
    assert one.identity() == FitSettings(epochs=20).identity()
    assert one.identity() != FitSettings(clip_norm=1.0).identity()


@pytest.mark.parametrize("schedule", ["step", "cosine", "one-cycle"])
def test_the_number_of_epochs_is_where_the_schedule_is_stretched_over_it(schedule: str):
    short, long = (FitSettings(schedule=schedule, epochs=epochs) for epochs in (10, 20))
    assert short.identity() != long.identity()
