"""The gate on real digits and real folders, by the command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from pipeline.artifact.registry import Registry
from pipeline.errors import ConfigError, PublishRefused
from pipeline.opencv import cv2
from tests.artifacts import publish_tiny
from tests.cli.headrace import headrace
from tests.flow.process import Headrace
from trainer.__main__ import app
from trainer.gated import GATE_NOTE

PLAIN = ["train", "--threads", "1", "--device", "cpu", "--json"]
GOOD = ["--train-samples", "800", "--epochs", "4", "--optimizer", "adam"]
BAD = ["--train-samples", "120", "--epochs", "1", "--seed", "1"]


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def invoke(*arguments: str) -> tuple[dict[str, Any], Exception | None]:
    """The JSON line, and the error that was raised after it."""
    ran = CliRunner().invoke(app, [*arguments])
    assert ran.exception is None or isinstance(ran.exception, PublishRefused), ran.exception
    (line,) = ran.stdout.splitlines()
    return json.loads(line), ran.exception


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with a network that has learnt digits, and its run."""
    folder = tmp_path_factory.mktemp("trained")
    where = ["--registry", str(folder / "models"), "--run", str(folder / "run")]
    summary, error = invoke(*PLAIN, *GOOD, "--publish", "digits", *where)
    assert error is None
    assert summary["accuracy"] > 0.6
    assert summary["gate"] == {"compared": [], "refusal": None}
    return folder


@pytest.fixture
def models(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained / "models", tmp_path / "models"))


@pytest.mark.slow
def test_a_worse_network_is_refused_and_taken_if_told(trained: Path, models: Path, tmp_path: Path):
    run = ["--publish", "digits", "--registry", str(models), "--run", str(tmp_path / "worse")]
    summary, error = invoke(*PLAIN, *BAD, *run)
    assert summary["published"] is None
    (compared,) = summary["gate"]["compared"]
    assert (compared["incumbent"], compared["verdict"]) == (1, "worse")
    assert compared["aliases"] == ["latest"]
    assert compared["samples"] == 100
    assert compared["accuracy"] == summary["accuracy"] < compared["incumbent_accuracy"]
    assert compared["p_value"] < 0.05
    assert f"--resume --run {tmp_path / 'worse'} --even-if-worse" in str(error)
    registry = Registry(str(models))
    assert registry.versions("digits") == [1]
    assert (tmp_path / "worse" / "best.pt").exists()

    again, error = invoke(*PLAIN, *BAD, *run, "--resume", "--even-if-worse")
    assert error is None
    assert again["accuracy"] == summary["accuracy"]
    assert again["published"]["version"] == 2
    assert registry.aliases("digits") == {"latest": 2}
    manifest = registry.manifest("digits", 2)
    assert manifest.notes[GATE_NOTE].startswith("worse than digits@1 (latest)")

    better, error = invoke(
        *(*PLAIN, *GOOD, "--publish", "digits", "--registry", str(models)),
        *("--run", str(trained / "run"), "--resume"),
    )
    assert error is None
    assert better["gate"]["compared"][0]["verdict"] == "not worse"
    assert registry.aliases("digits") == {"latest": 3}


def test_the_manifest_says_what_held_out_digits_looked_like(models: Path):
    manifest = Registry(str(models)).manifest("digits", 1)
    reference = manifest.reference
    assert reference is not None
    assert reference.scores is not None
    assert reference.samples == manifest.metrics["heldout_samples"] == 200
    assert sum(reference.scores.confidence.counts) == 200
    assert sum(reference.scores.true or ()) == 200
    assert sum(reference.inputs.contrast.counts) == 200
    assert (models / "digits" / "1" / "manifest.json").stat().st_size < 6000
    shown = headrace("models", "show", "digits", "--registry", str(models))
    assert "statistics of 200 held-out samples" in shown.out


def test_an_incumbent_of_other_labels_is_named_and_replaced(tmp_path: Path):
    publish_tiny(str(tmp_path / "models"), "digits")
    where = ["--registry", str(tmp_path / "models"), "--run", str(tmp_path / "run")]
    summary, error = invoke(*PLAIN, *BAD, "--publish", "digits", *where)
    assert error is None
    (compared,) = summary["gate"]["compared"]
    assert compared["verdict"] == "not compared"
    assert "10 labels, expected 3" in compared["why"]
    assert summary["published"]["version"] == 2


class Judge(nn.Module):
    """By how bright a picture is; ``sign`` says whether it tells the truth."""

    def __init__(self, sign: float) -> None:
        super().__init__()
        self.sign = sign

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=(1, 2, 3)) - 0.5
        return torch.stack([-self.sign * mean, self.sign * mean], dim=1)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Two networks, their labels, and pictures to judge them by."""
    for name, sign in (("good", 4.0), ("bad", -4.0)):
        torch.jit.save(torch.jit.script(Judge(sign).eval()), tmp_path / f"{name}.pt")
    (tmp_path / "labels.txt").write_text("dark\nlight\n")
    rng = np.random.default_rng(0)
    for label, low in (("dark", 0), ("light", 180)):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(12):
            picture = rng.integers(low, low + 70, (20, 20, 3), np.uint8)
            cv2.imwrite(str(tmp_path / "data" / label / f"{number}.png"), picture)
    return tmp_path


def publish(own: Path, name: str, *more: str) -> tuple[dict[str, Any], Exception | None]:
    options = ["--name", "own", "--registry", str(own / "models"), "--size", "16x16", "--json"]
    labels = ["--labels", str(own / "labels.txt")]
    return invoke("publish", str(own / f"{name}.pt"), *options, *labels, *more)


def test_a_network_of_ones_own_is_compared_by_pictures_of_ones_own(own: Path):
    data = ["--data", str(own / "data")]
    first, error = publish(own, "good", *data)
    assert error is None
    assert first["version"] == 1
    assert first["metrics"]["accuracy"] == 1
    assert first["reference"]["samples"] == 24
    assert first["reference"]["scores"]["true"] == [12, 12]

    worse, error = publish(own, "bad", *data)
    assert "worse than own@1 (latest): accuracy 0.00%" in str(error)
    assert "--even-if-worse publishes it all the same" in str(error)
    assert set(worse) == {"gate"}
    assert worse["gate"]["compared"][0]["lost"] == 24
    assert Registry(str(own / "models")).aliases("own") == {"latest": 1}

    told, error = publish(own, "bad", *data, "--even-if-worse")
    assert error is None
    assert told["version"] == 2
    assert told["notes"][GATE_NOTE].startswith("worse than own@1")

    Registry(str(own / "models")).set_alias("own", "latest", 1)
    tolerated, error = publish(own, "bad", *data, "--gate-tolerance", "1")
    assert error is None
    assert tolerated["gate"]["compared"][0]["verdict"] == "not worse"


def test_pictures_of_one_label_alone_judge_it_too(own: Path):
    shutil.rmtree(own / "data" / "dark")
    data = ["--data", str(own / "data")]
    first, error = publish(own, "good", *data)
    assert error is None
    assert (first["metrics"]["accuracy"], first["metrics"]["heldout_samples"]) == (1, 12)
    assert first["reference"]["scores"]["true"] == [0, 12]
    _, error = publish(own, "bad", *data)
    assert "worse than own@1 (latest): accuracy 0.00%" in str(error)


def test_without_pictures_nothing_is_compared(own: Path):
    publish(own, "good")
    second, error = publish(own, "bad")
    assert error is None
    assert second["version"] == 2
    assert second["reference"] is None
    assert second["gate"]["compared"][0]["verdict"] == "not compared"


def test_the_part_that_is_held_out_is_the_one_that_judges(own: Path):
    (own / "parts").mkdir()
    shutil.move(own / "data", own / "parts" / "val")
    for label in ("dark", "light"):
        (own / "parts" / "train" / label).mkdir(parents=True)
        (own / "parts" / "train" / label / "torn.png").write_bytes(b"torn")
    first, _ = publish(own, "good", "--data", str(own / "parts"))
    assert first["metrics"]["heldout_samples"] == 24


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--data", "nowhere"], "--data nowhere is no folder"),
        (["--even-if-worse"], "--even-if-worse goes with --data FOLDER"),
        (["--gate-tolerance", "0.1"], "--gate-tolerance goes with --data FOLDER"),
        (["--trusted-key", "hr-x"], "--trusted-key goes with --data FOLDER"),
    ],
)
def test_wrong_use_of_the_gate_is_explained(own: Path, options: list[str], says: str):
    arguments = ["publish", str(own / "good.pt"), "--name", "own", "--size", "16x16", *options]
    ran = CliRunner().invoke(app, arguments)
    assert isinstance(ran.exception, ConfigError)
    assert says in str(ran.exception)


def test_folders_that_are_no_labels_and_pictures_that_are_none_are_explained(own: Path):
    (own / "labels.txt").write_text("cat\ndog\n")
    arguments = ["publish", str(own / "good.pt"), "--name", "own", "--size", "16x16"]
    options = ["--data", str(own / "data"), "--labels", str(own / "labels.txt")]
    ran = CliRunner().invoke(app, [*arguments, *options])
    assert isinstance(ran.exception, ConfigError)
    assert "folders that aren't labels of the network: dark, light" in str(ran.exception)
    for label in ("cat", "dog"):
        (own / "none" / label).mkdir(parents=True)
    options = ["--data", str(own / "none"), "--labels", str(own / "labels.txt")]
    ran = CliRunner().invoke(app, [*arguments, *options])
    assert "no picture that can be decoded" in str(ran.exception)


@pytest.mark.parametrize(
    "options", [["--even-if-worse"], ["--gate-tolerance", "0.1"], ["--trusted-key", "hr-x"]]
)
def test_the_gate_of_a_training_goes_with_publish(options: list[str]):
    ran = CliRunner().invoke(app, [*PLAIN, *options])
    assert isinstance(ran.exception, ConfigError)
    assert f"{options[0]} goes with --publish NAME" in str(ran.exception)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plants", "code", "latest"),
    [((), 1, 1), (("mutants.let_the_worse_pass",), 0, 2)],
    ids=["as it is", "with the gate always open"],
)
def test_it_is_the_gate_that_keeps_the_alias_where_it_is(
    own: Path, plants: tuple[str, ...], code: int, latest: int
):
    data = ["--data", str(own / "data")]
    publish(own, "good", *data)
    verb = ["publish", str(own / "bad.pt"), "--name", "own", "--size", "16x16", *data]
    rest = ["--labels", str(own / "labels.txt"), "--registry", str(own / "models"), "--json"]
    with Headrace(*verb, *rest, plants=plants) as publisher:
        assert publisher.end(90) == code, publisher.said()
    assert Registry(str(own / "models")).aliases("own") == {"latest": latest}


def test_a_refusal_exits_with_1_and_one_line(own: Path):
    publish(own, "good")
    verb = ["publish", str(own / "bad.pt"), "--name", "own", "--size", "16x16"]
    rest = ["--labels", str(own / "labels.txt"), "--data", str(own / "data")]
    ran = headrace(*verb, *rest, "--registry", str(own / "models"))
    assert ran.code == 1
    assert ran.out == ""
    assert "headrace: own isn't published: it is worse than own@1 (latest)" in ran.err
