"""``headrace train`` by `torchrun`, in two processes on the CPU: the run that one process has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.artifact.registry import Registry
from trainer.checkpoint import load_tensors

ROOT = Path(__file__).parents[2]
DYING = Path(__file__).with_name("dying_trainer.py")
# After --, torchrun leaves options alone; it would take --run for its own --run-path.
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
# 305 samples are six batches of 50 and one of 5: of that one process has three samples.
TRAIN = [
    *("train", "--threads", "1", "--device", "cpu", "--json", "--train-samples", "305"),
    *("--batch-size", "50", "--epochs", "3"),
]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo"},
        timeout=200,
        check=False,
    )


def summary_of(ran: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert ran.returncode == 0, ran.stderr
    (line,) = ran.stdout.splitlines()  # of one process
    return json.loads(line)


def history(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


EVERYTHING = [
    *("--augment", "flip,noise", "--balance", "weights", "--accumulate", "3"),
    *("--optimizer", "adamw", "--schedule", "cosine", "--clip-norm", "1"),
]


def test_two_processes_have_the_losses_of_one_and_publish_once(tmp_path: Path):
    one, two, url = tmp_path / "one", tmp_path / "two", str(tmp_path / "models")
    summary_of(run("-m", "trainer", *TRAIN, *EVERYTHING, "--run", str(one)))
    publish = ["--run", str(two), "--publish", "digits", "--registry", url]
    ran = run(*TORCHRUN, "-m", "--", "trainer", *TRAIN, *EVERYTHING, *publish)
    summary = summary_of(ran)
    assert Registry(url).versions("digits") == [1]
    assert summary["published"]["version"] == 1
    assert ran.stderr.count("epoch 3/3") == 1  # said once
    assert (two / "evaluation.json").exists()
    assert not list(two.glob(".*"))
    for alone, together in zip(history(one), history(two), strict=True):
        # float32 sums of 50 samples in another order: 1e-7 off where this was written.
        for name in ("train_loss", "heldout_loss", "gradient_norm", "learning_rate"):
            assert together[name] == pytest.approx(alone[name], rel=1e-5), name
    weights = load_tensors(one / "best.pt"), load_tensors(two / "best.pt")
    for key in weights[0]:
        torch.testing.assert_close(weights[1][key], weights[0][key], atol=1e-5, rtol=1e-4, msg=key)


def test_a_process_that_is_killed_ends_all_and_the_run_goes_on_as_if_it_had_not(tmp_path: Path):
    killed, straight = tmp_path / "killed", tmp_path / "straight"
    dropout = [*TRAIN, "--net", "simple-cnn", "--dropout", "0.3"]
    arguments = [*dropout, "--run", str(killed), "--resume"]
    died = run(
        *TORCHRUN, "--", str(DYING), "step", "10", *arguments
    )  # in the second epoch, of 7 steps
    assert died.returncode == 1
    assert died.stdout == ""
    assert len(history(killed)) == 1
    summary_of(run(*TORCHRUN, "-m", "--", "trainer", *arguments))
    summary_of(run(*TORCHRUN, "-m", "--", "trainer", *dropout, "--run", str(straight)))
    left, right = load_tensors(killed / "last.pt"), load_tensors(straight / "last.pt")
    assert all(torch.equal(left["network"][key], right["network"][key]) for key in left["network"])
