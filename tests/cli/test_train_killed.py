"""``headrace train`` killed at named moments and resumed: the weights of a run that wasn't."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from trainer.checkpoint import load_tensors

ROOT = Path(__file__).parents[2]
DYING = Path(__file__).with_name("dying_trainer.py")
# 300 samples are five batches of 64, the last of 44.
TRAIN = ["train", "--threads", "1", "--device", "cpu", "--json", "--train-samples", "300"]


def train(*arguments: str) -> dict[str, Any]:
    """In a process of its own, as users do: DataLoader's workers are forks, and of a process that
    other tests have filled with libraries' threads and locks one hung."""
    ran = subprocess.run(
        [sys.executable, "-m", "trainer", *TRAIN, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def train_and_die(moment: str, number: int, *arguments: str) -> None:
    """Trains in a process of its own, until it is killed as ``dying_trainer`` says."""
    ran = subprocess.run(
        [sys.executable, str(DYING), moment, str(number), *TRAIN, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=100,
        check=False,
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr


def epochs_kept(run: Path) -> int:
    last = run / "last.pt"
    return len(load_tensors(last)["history"]) if last.exists() else 0


def assert_equal(left: Any, right: Any, where: str) -> None:
    """Equal bit for bit, but for the time that it took."""
    assert type(left) is type(right), where
    if isinstance(left, dict):
        assert left.keys() == right.keys(), where
        for key in left.keys() - {"duration_s"}:
            assert_equal(left[key], right[key], f"{where}/{key}")
    elif isinstance(left, list | tuple):
        assert len(left) == len(right), where
        for number, (one, other) in enumerate(zip(left, right, strict=True)):
            assert_equal(one, other, f"{where}/{number}")
    elif isinstance(left, torch.Tensor):
        assert torch.equal(left, right), where
    else:
        assert left == right, where


NESTEROV = [
    *("--optimizer", "sgd", "--nesterov", "--weight-decay", "0.001", "--clip-norm", "1"),
    *("--schedule", "cosine", "--warmup-epochs", "1", "--accumulate", "2", "--epochs", "4"),
]
DROPOUT = [  # and batch normalisation
    *("--net", "torchvision:mobilenet_v3_small", "--size", "32x32", "--optimizer", "adamw"),
    *("--schedule", "one-cycle", "--epochs", "3"),
]
# An epoch gains if it is 0.6 better than the last that did: the first alone, so the third ends it.
EARLY = [
    *("--optimizer", "adam", "--patience", "2", "--min-delta", "0.6", "--epochs", "9"),
    *("--schedule", "plateau", "--channels-last"),
]

AUGMENTED = [
    *("--augment", "crop,rotate,flip,color,blur,noise", "--balance", "sampling"),
    *("--workers", "2", "--net", "simple-cnn", "--dropout", "0.3", "--epochs", "3"),
]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("settings", "steps_per_epoch", "epochs"),
    [
        pytest.param(NESTEROV, 3, 4, id="nesterov, cosine, warm-up, clip, accumulate"),
        pytest.param(*(DROPOUT, 5, 3), id="adamw, one-cycle, dropout", marks=pytest.mark.faults),
        pytest.param(AUGMENTED, 5, 3, id="augmented in workers, sampled by class, dropout"),
        pytest.param(
            *(EARLY, 5, 3),
            id="adam, plateau, channels-last, early stopping",
            marks=pytest.mark.faults,
        ),
    ],
)
def test_killed_at_the_worst_moments_it_ends_with_the_weights_of_a_run_that_was_not(
    tmp_path: Path, settings: list[str], steps_per_epoch: int, epochs: int
):
    killed = tmp_path / "killed"
    arguments = [*settings, "--run", str(killed), "--resume"]

    train_and_die("last.pt", 1, *arguments)  # between the two saves
    assert (killed / "best.pt").exists()
    assert epochs_kept(killed) == 0

    train_and_die("step", steps_per_epoch + 2, *arguments)  # in the middle of an epoch
    assert epochs_kept(killed) == 1

    train_and_die("history.jsonl", 2, *arguments)  # written at the resume, then for epoch 2
    assert epochs_kept(killed) == 2

    resumed = train(*arguments)
    straight = train(*settings, "--run", str(tmp_path / "straight"))
    assert resumed["epochs"] == straight["epochs"] == epochs
    for name in ("best.pt", "last.pt"):
        left, right = load_tensors(killed / name), load_tensors(tmp_path / "straight" / name)
        assert_equal(left, right, name)
    assert not list(killed.glob(".*"))
