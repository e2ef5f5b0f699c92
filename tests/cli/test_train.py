"""``headrace train`` on real digits and real folders, killed and resumed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from pipeline.artifact.artifact import Artifact
from pipeline.artifact.registry import Registry
from pipeline.errors import ConfigError
from tests.support import noise_jpeg, wait_until
from trainer.__main__ import app
from trainer.checkpoint import load_tensors
from trainer.nets import CnnOptions, SimpleCnn
from trainer.report import TABLE_COLUMNS

ROOT = Path(__file__).parents[2]
PLAIN = ["train", "--threads", "1", "--device", "cpu", "--json"]
SMALL = [*PLAIN, "--train-samples", "300"]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "trainer", *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def train(*arguments: str) -> dict[str, Any]:
    ran = CliRunner().invoke(app, [*SMALL, *arguments], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    (line,) = ran.stdout.splitlines()
    return json.loads(line)


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_training_and_publishing_give_one_line_of_json(tmp_path: Path):
    url = str(tmp_path / "models")
    arguments = ["--epochs", "2", "--run", str(tmp_path / "run")]
    summary = train(*arguments, "--publish", "digits", "--alias", "prod", "--registry", url)
    assert set(summary) == {
        "epochs",
        "train_loss",
        "accuracy",
        "macro_precision",
        "macro_recall",
        "ece",
        "temperature",
        "run",
        "published",
        "gate",
        "duration_s",
    }
    assert summary["epochs"] == 2
    assert summary["run"] == str(tmp_path / "run")
    registry = Registry(url)
    manifest = registry.manifest("digits", 1)
    assert summary["published"] == {"name": "digits", "version": 1, "sha256": manifest.sha256}
    assert registry.aliases("digits") == {"latest": 1, "prod": 1}
    assert manifest.contract.labels == tuple("0123456789")
    assert manifest.metrics["accuracy"] == pytest.approx(summary["accuracy"], abs=1e-5)


def test_the_published_confidences_are_calibrated_unless_told_otherwise(tmp_path: Path):
    url = str(tmp_path / "models")
    arguments = ["--epochs", "2", "--publish", "digits", "--registry", url]
    calibrated = train(*arguments, "--run", str(tmp_path / "calibrated"))
    plain = train(*arguments, "--run", str(tmp_path / "plain"), "--no-calibrate")
    assert plain["temperature"] == 1 != calibrated["temperature"]
    assert calibrated["accuracy"] == plain["accuracy"]
    registry = Registry(url)
    one, other = registry.read("digits", 1), registry.read("digits", 2)
    assert one.manifest.metrics["temperature"] == pytest.approx(calibrated["temperature"], abs=1e-5)
    assert one.manifest.metrics["heldout_loss"] < other.manifest.metrics["heldout_loss"]
    torch.testing.assert_close(
        torch.from_numpy(one.golden.logits_nk) * calibrated["temperature"],
        torch.from_numpy(other.golden.logits_nk),
        atol=1e-4,
        rtol=1e-4,
    )
    for run in ("calibrated", "plain"):
        report = json.loads((tmp_path / run / "evaluation.json").read_text())
        assert report["accuracy"] == plain["accuracy"]
        assert (tmp_path / run / "curves.png").stat().st_size > 1000
        assert (tmp_path / run / "confusion.png").stat().st_size > 1000


def test_a_terminal_shows_each_classs_figures(tmp_path: Path):
    arguments = ["--epochs", "1", "--run", str(tmp_path / "run")]
    without_json = [part for part in SMALL if part != "--json"]
    ran = CliRunner().invoke(app, [*without_json, *arguments], catch_exceptions=False)
    head, *rows = ran.stdout.splitlines()
    assert re.split(r"  +", head) == list(TABLE_COLUMNS)
    assert [row.split()[4] for row in rows[:10]] == list("0123456789")
    assert rows[10].startswith("accuracy ")
    assert rows[11].startswith("confidences ")


def test_tensorboard_finds_its_events_in_the_runs_folder(tmp_path: Path):
    pytest.importorskip("tensorboard")
    train("--epochs", "1", "--run", str(tmp_path), "--tensorboard")
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 1


@pytest.mark.filterwarnings("ignore:.*noload.*")
def test_mlflow_is_told_of_a_run(tmp_path: Path):
    pytest.importorskip("mlflow")
    train("--epochs", "1", "--run", str(tmp_path), "--mlflow", f"sqlite:///{tmp_path}/mlflow.db")
    assert set(json.loads((tmp_path / "mlflow.json").read_text())) == {"uri_sha256", "run_id"}


def test_each_training_gets_a_run_of_its_own_and_resume_takes_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert train("--epochs", "1")["run"] == "runs/reference-cnn"
    assert train("--epochs", "1")["run"] == "runs/reference-cnn-2"
    again = train("--epochs", "2", "--resume")
    assert (again["run"], again["epochs"]) == ("runs/reference-cnn-2", 2)
    with pytest.raises(ConfigError, match="holds a run already"):
        train("--run", "runs/reference-cnn")


def test_a_folder_with_a_broken_picture_is_learnt_from(tmp_path: Path):
    for label in ("dark", "light"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(12):
            path = tmp_path / "data" / label / f"{number}.jpg"
            path.write_bytes(noise_jpeg(seed=number))
    (tmp_path / "data" / "dark" / "torn.jpg").write_bytes(noise_jpeg()[:200])
    arguments = ["--data", str(tmp_path / "data"), "--epochs", "1", "--run", str(tmp_path / "run")]
    ran = CliRunner().invoke(app, [*PLAIN, *arguments], catch_exceptions=False)
    assert ran.exit_code == 0
    assert json.loads(ran.stdout)["published"] is None
    assert "torn.jpg: corrupt" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--size", "24"], "WIDTHxHEIGHT"),
        (["--size", "0x24"], "--size"),
        (["--net", "lenet"], "there is no network"),
        (["--net", "nowhere_at_all:net"], "can't be imported"),
        (["--net", "vgg11", "--size", "16x16"], "can't take samples of 16x16"),
        (["--net", "resnet18", "--dropout", "0.1"], "--dropout goes with --net simple-cnn"),
        (["--batch-norm"], "--batch-norm goes with --net simple-cnn"),
        (["--task", "detection"], "--task is 'detection', expected single-label, multi-label or"),
        (["--task", "regression", "--train-samples", "20"], "the data are single-label"),
        (["--activation", "relu"], "--activation goes with --net simple-cnn"),
        (["--net", "simple-cnn", "--init", "zeros"], "--init is 'zeros'"),
        (["--weights", "nothing.pt"], "--weights nothing.pt can't be read"),
        (["--freeze", "conv1.*"], "--freeze goes with --weights"),
        (["--mean", "127"], "is it 0.498"),
        (["--optimizer", "lion"], "sgd, adam or adamw"),
        (["--data", "nowhere"], "is no folder"),
        (["--publish", "a/b"], "the model's name"),
        (["--publish", "digits", "--alias", "7"], "the alias"),
        (["--device", "tpu"], "auto, cpu, cuda"),
        (["--alias", "prod"], "--alias goes with --publish NAME"),
        (["--optimizer", "adam", "--momentum", "0.5"], "--momentum goes with --optimizer sgd"),
        (["--optimizer", "adamw", "--nesterov"], "--nesterov goes with --optimizer sgd"),
        (["--schedule", "one-cycle", "--momentum", "0.5"], "--momentum goes with a --schedule"),
        (["--schedule", "one-cycle", "--warmup-epochs", "1"], "--warmup-epochs goes with a"),
        (["--schedule", "plateau", "--epochs", "5"], "plateau goes with more than 5 --epochs"),
        (["--schedule", "linear"], "--schedule is 'linear'"),
        (["--min-delta", "0.1"], "--min-delta goes with --patience"),
        (["--min-delta", "5"], "--min-delta goes with --patience"),
        (["--patience", "9"], "--patience goes with at least two more --epochs"),
        (["--warmup-epochs", "10"], "--warmup-epochs is 10, expected fewer"),
        (["--clip-norm", "0"], "expected a norm above 0"),
        (["--precision", "fp16"], "fp16 needs a CUDA device"),
        (["--nesterov", "--momentum", "0"], "--nesterov needs"),
        (["--data", "photos", "--train-samples", "9"], "--train-samples goes with --data digits"),
        (["--target", "high"], r"--target goes with --data FILE\.csv or \.parquet"),
        (["--data", "none.csv"], r"none\.csv can't be read: No such file"),
        (["--augment", "mirror"], "--augment is 'mirror', expected some of crop"),
        (["--balance", "classes"], "--balance is 'classes', expected none, weights or sampling"),
        (["--window", "0,4095"], "--window goes with --data of 16-bit pictures"),
        (["--data", "photos", "--window", "9"], "expected BLACK,WHITE"),
        (["--data", "photos", "--window", "9,5"], "0 <= BLACK < WHITE"),
        (["--channels", "1"], "--channels 1 goes with --grayscale"),
        (["--channels", "2"], "expected 1 or 3"),
        (["--grayscale", "--channels", "1"], "--channels 1 goes with a network of your own"),
    ],
)
def test_wrong_use_is_said_before_anything_is_trained(
    tmp_path: Path, arguments: list[str], says: str
):
    everything = [*PLAIN, *arguments, "--run", str(tmp_path / "run")]
    with pytest.raises(ConfigError, match=says):
        CliRunner().invoke(app, everything, catch_exceptions=False)


def test_a_known_error_is_one_line_and_exits_with_2(tmp_path: Path):
    ran = subprocess.run(
        command("train", "--size", "24", "--run", str(tmp_path / "run")),
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("error: --size is '24'")
    assert "Traceback" not in ran.stderr


def test_killed_and_resumed_gives_the_weights_of_a_run_that_was_not(tmp_path: Path):
    settings = [*SMALL, "--epochs", "6"]
    killed = tmp_path / "killed"
    process = subprocess.Popen(
        command(*settings, "--run", str(killed)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    try:
        wait_until(lambda: (killed / "last.pt").exists() or process.poll() is not None, 60)
    finally:
        process.kill()
    assert process.wait(30) == -signal.SIGKILL
    done_before = len(load_tensors(killed / "last.pt")["history"])
    assert 1 <= done_before < 6

    resumed = train("--epochs", "6", "--run", str(killed), "--resume")
    straight = train("--epochs", "6", "--run", str(tmp_path / "straight"))
    assert resumed["accuracy"] == straight["accuracy"]
    for name in ("best.pt", "last.pt"):
        left, right = load_tensors(killed / name), load_tensors(tmp_path / "straight" / name)
        left, right = left.get("network", left), right.get("network", right)
        assert all(torch.equal(left[key], right[key]) for key in right), name
    assert not list(killed.glob(".*"))


def test_a_trainer_killed_while_it_publishes_leaves_only_whole_versions(tmp_path: Path):
    url = str(tmp_path / "registry")
    process = subprocess.Popen(
        command("demo-loop", "--name", "digits", "--folder", str(tmp_path)),
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        # The next version's folder is claimed, and its files are being written.
        second = tmp_path / "registry" / "digits" / "2"
        wait_until(second.exists, 60)
    finally:
        process.kill()
        process.wait(30)
        if process.stdout:
            process.stdout.close()
    registry = Registry(url)
    versions = registry.versions("digits")
    assert versions[0] == line["version"] == 1
    for version in versions:
        assert registry.read("digits", version).manifest.version == version
    assert registry.resolve("digits") in versions


def test_the_demos_loop_ends_at_once_on_sigterm(tmp_path: Path):
    process = subprocess.Popen(
        command("demo-loop", "--name", "digits", "--folder", str(tmp_path)),
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    with process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["event"] == "published"
        process.terminate()
        assert process.wait(30) == 0


def test_a_run_that_is_a_file_is_refused_before_anything_is_done(tmp_path: Path):
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(ConfigError, match="no folder"):
        train("--epochs", "1", "--run", str(tmp_path / "notes"))
    assert (tmp_path / "notes").read_text() == "mine"


def test_a_resume_that_finds_nothing_says_that_it_begins(tmp_path: Path):
    ran = CliRunner().invoke(
        app, [*SMALL, "--epochs", "1", "--run", str(tmp_path / "new"), "--resume"]
    )
    assert ran.exit_code == 0
    assert "no epoch is kept in" in ran.stderr


def folder_of_pictures(path: Path, labels: tuple[str, ...]) -> None:
    for label in labels:
        (path / label).mkdir(parents=True)
        for number in range(12):
            (path / label / f"{number}.jpg").write_bytes(noise_jpeg(seed=number))


def test_a_network_with_options_is_trained_and_then_fine_tuned_to_other_classes(tmp_path: Path):
    options = ["--activation", "prelu", "--batch-norm", "--dropout", "0.2", "--init", "orthogonal"]
    simple = ["--net", "simple-cnn", "--size", "32x28", *options]
    train(*simple, "--epochs", "1", "--run", str(tmp_path / "first"))
    folder_of_pictures(tmp_path / "data", ("dark", "light"))
    ran = CliRunner().invoke(
        app,
        [
            *(*PLAIN, *simple, "--data", str(tmp_path / "data"), "--epochs", "2"),
            *("--weights", str(tmp_path / "first" / "best.pt"), "--freeze", "conv*"),
            *("--freeze", "norm[12].*", "--mean", "0.4,0.5,0.6", "--std", "0.2"),
            *("--run", str(tmp_path / "second"), "--publish", "two"),
            *("--registry", str(tmp_path / "models"), "--no-calibrate"),
        ],
        catch_exceptions=False,
    )
    assert ran.exit_code == 0, ran.output
    assert "left as drawn, for 2 classes and not 10: logits.bias, logits.weight" in ran.stderr
    before, after = (load_tensors(tmp_path / run / "best.pt") for run in ("first", "second"))
    assert torch.equal(before["conv2.weight"], after["conv2.weight"])
    assert torch.equal(before["norm2.running_var"], after["norm2.running_var"])
    assert not torch.equal(before["hidden.weight"], after["hidden.weight"])
    artifact = Registry(str(tmp_path / "models")).read("two", 1)
    notes = artifact.manifest.notes
    assert notes["net"] == "simple-cnn"
    assert notes["freeze"] == "conv*, norm[12].*"
    assert notes["activation"] == "prelu"
    weights = (tmp_path / "first" / "best.pt").read_bytes()
    assert notes["weights_sha256"] == hashlib.sha256(weights).hexdigest()
    assert_gives(artifact, after, (0.4, 0.5, 0.6), (0.2, 0.2, 0.2))


def assert_gives(
    artifact: Artifact, state: dict[str, Any], mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    """The published golden logits are those of a simple-cnn with ``state``, computed by hand."""
    options = CnnOptions("prelu", batch_norm=True, dropout=0.2, init="orthogonal")
    network = SimpleCnn(2, (32, 28), options).eval()
    network.load_state_dict(state)
    scaled_nhwc = (artifact.golden.inputs_nhwc / 255 - np.array(mean)) / np.array(std)
    images_nchw = torch.from_numpy(scaled_nhwc.transpose(0, 3, 1, 2)).float()
    with torch.inference_mode():
        np.testing.assert_allclose(
            network(images_nchw).numpy(), artifact.golden.logits_nk, atol=1e-4
        )


def test_a_network_of_ones_own_is_trained_published_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("my_networks_of_today.py").write_text(
        "from torch import nn\n\n\n"
        "def tiny(num_classes):\n"
        "    return nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(),\n"
        "        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, num_classes))\n"
    )
    net = ["--net", "my_networks_of_today:tiny", "--size", "20x20"]
    train(*net, "--epochs", "1", "--publish", "mine")
    summary = train(*net, "--epochs", "2", "--run", "runs/mine", "--resume", "--publish", "mine")
    assert (summary["epochs"], summary["published"]["version"]) == (2, 2)
    artifact = Registry("registry").read("mine", 2)
    assert artifact.golden.logits_nk.shape == (8, 10)
    assert artifact.manifest.notes["net"] == "my_networks_of_today:tiny"


def test_a_table_is_learnt_from_augmented_and_balanced_and_the_artifact_says_so(tmp_path: Path):
    folder_of_pictures(tmp_path / "data", ("cat", "dog"))
    rows = [f"dog/{number}.jpg,dog\n" for number in range(12)]
    rows += [f"cat/{number}.jpg,cat\n" for number in range(9)]
    (tmp_path / "data" / "photos.csv").write_text("path,label\n" + "".join(rows) + "gone.jpg,cat\n")
    arguments = [
        *(*PLAIN, "--data", str(tmp_path / "data" / "photos.csv"), "--batch-size", "8"),
        *("--augment", "noise,flip", "--run", str(tmp_path / "run"), "--publish", "pets"),
        *("--registry", str(tmp_path / "models")),
    ]
    first = CliRunner().invoke(app, [*arguments, "--balance", "sampling", "--epochs", "1"])
    assert first.exit_code == 0, first.output
    assert "gone.jpg: unreadable: No such file" in first.stderr
    assert re.search(r"samples to learn each class from: cat \d, dog \d", first.stderr)
    manifest = Registry(str(tmp_path / "models")).manifest("pets", 1)
    assert manifest.contract.labels == ("cat", "dog")
    assert manifest.notes["augment"] == "flip, noise"
    assert manifest.notes["balance"] == "sampling"
    kept = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (kept["augment"], kept["balance"]) == (["flip", "noise"], "sampling")
    again = [*arguments, "--epochs", "2", "--resume"]
    with pytest.raises(ConfigError, match="balance sampling, now none"):
        CliRunner().invoke(app, again, catch_exceptions=False)
    again[again.index("noise,flip")] = "flip"
    with pytest.raises(ConfigError, match=r"augment \('flip', 'noise'\), now \('flip',\)"):
        CliRunner().invoke(app, [*again, "--balance", "sampling"], catch_exceptions=False)


@pytest.mark.parametrize(
    ("columns", "options", "task", "labels"),
    [
        ("labels", (), "multi-label", ("even", "late")),
        ("wide,high", ("--target", "high", "--target", "wide"), "regression", ("high", "wide")),
    ],
)
def test_a_tables_labels_or_numbers_are_learnt_published_and_resumed(
    tmp_path: Path, columns: str, options: tuple[str, ...], task: str, labels: tuple[str, ...]
):
    folder_of_pictures(tmp_path, ("p", "q"))
    lines = [f"path,{columns}"]
    for number in range(24):
        shown = ["even"] * (number % 2 == 0) + ["late"] * (number > 12)
        cells = "|".join(shown) if columns == "labels" else f"{number / 24},{number % 5 / 5}"
        lines.append(f"{'pq'[number // 12]}/{number % 12}.jpg,{cells}")
    (tmp_path / "photos.csv").write_text("\n".join(lines))
    arguments = [
        *(*PLAIN, "--data", str(tmp_path / "photos.csv"), *options, "--run", str(tmp_path / "run")),
        *("--publish", "mine", "--registry", str(tmp_path / "models"), "--augment", "flip"),
    ]
    first = CliRunner().invoke(app, [*arguments, "--epochs", "1"], catch_exceptions=False)
    assert first.exit_code == 0, first.output
    contract = Registry(str(tmp_path / "models")).manifest("mine", 1).contract
    assert (contract.task, contract.labels) == (task, labels)
    more = [*arguments, "--epochs", "2", "--resume", "--even-if-worse"]
    again = CliRunner().invoke(app, more, catch_exceptions=False)
    assert json.loads(again.stdout)["epochs"] == 2
    with pytest.raises(ConfigError, match="--balance goes with pictures of one class each"):
        CliRunner().invoke(app, [*more, "--balance", "weights"], catch_exceptions=False)
