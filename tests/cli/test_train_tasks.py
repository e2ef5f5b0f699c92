"""``headrace train`` on tables of pictures whose targets are labels or numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.artifact.registry import Registry
from pipeline.digits import Scene
from pipeline.errors import ConfigError
from trainer.__main__ import app

_SAMPLES = 40


def table(folder: Path, columns: str, answer: Any) -> Path:
    """Digits and, for each, what ``answer`` makes of it; every fourth is held out."""
    folder.mkdir()
    lines = [f"path,split,{columns}"]
    scene = Scene(0)
    for number in range(_SAMPLES):
        frame = 46 * number
        (folder / f"{number}.jpg").write_bytes(scene.jpeg(frame))
        split = "train" if number % 4 else "heldout"
        lines.append(f"{number}.jpg,{split},{answer(int(scene.label(frame)))}")
    path = folder / "table.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def train(tmp_path: Path, *arguments: str, as_json: bool = True) -> str:
    options = ["--threads", "1", "--device", "cpu", "--epochs", "2", "--size", "24x24"]
    options += ["--run", str(tmp_path / "run"), "--registry", str(tmp_path / "models")]
    options += ["--json"] if as_json else []
    ran = CliRunner().invoke(app, ["train", *options, *arguments], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return ran.stdout


def test_values_are_learnt_shown_and_published(tmp_path: Path):
    data = table(tmp_path / "data", "digit,half", lambda digit: f"{digit / 9},{digit / 18}")
    targets = ["--data", str(data), "--target", "digit", "--target", "half"]
    summary = json.loads(train(tmp_path, *targets, "--publish", "values"))
    assert {"mae", "rmse", "r2"} <= summary.keys()
    assert not {"accuracy", "ece", "temperature"} & summary.keys()
    manifest = Registry(str(tmp_path / "models")).manifest("values", 1)
    assert (manifest.contract.task, manifest.contract.labels) == ("regression", ("digit", "half"))
    assert manifest.metrics["rmse"] == pytest.approx(summary["rmse"], abs=1e-5)
    assert manifest.metrics["heldout_loss"] == pytest.approx(summary["rmse"] ** 2, rel=1e-3)
    shown = train(tmp_path, *targets, "--resume", as_json=False).splitlines()
    assert shown[0].split() == ["MAE", "RMSE", "R²", "value"]
    assert [line.split()[-1] for line in shown[1:3]] == ["digit", "half"]
    assert shown[3].startswith("RMSE ")


@pytest.mark.parametrize("written", ["names", "numbers"])
def test_labels_are_learnt_from_names_and_from_numbers(tmp_path: Path, written: str):
    if written == "names":
        data = table(tmp_path / "data", "labels", _names)
        arguments = ["--data", str(data)]
    else:
        data = table(tmp_path / "data", "even,large", lambda n: f"{int(n % 2 == 0)},{int(n > 4)}")
        arguments = ["--data", str(data), "--target", "even", "--target", "large"]
        arguments += ["--task", "multi-label"]
    summary = json.loads(train(tmp_path, *arguments, "--publish", "labels"))
    assert {"macro_f1", "exact_match", "ece", "temperature"} <= summary.keys()
    manifest = Registry(str(tmp_path / "models")).manifest("labels", 1)
    assert (manifest.contract.task, manifest.contract.labels) == ("multi-label", ("even", "large"))
    report = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert (report["task"], report["samples"]) == ("multi-label", _SAMPLES // 4)


def test_numbers_that_are_not_0_or_1_are_no_labels(tmp_path: Path):
    data = table(tmp_path / "data", "digit", str)
    with pytest.raises(ConfigError, match="expected 0 or 1 for each label"):
        train(tmp_path, "--data", str(data), "--target", "digit", "--task", "multi-label")


def _names(digit: int) -> str:
    there = {"even": digit % 2 == 0, "large": digit > 4}
    return "|".join(name for name, is_there in there.items() if is_there)
