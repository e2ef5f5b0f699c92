"""Training by task: loss, what the best epoch is, figures, calibration, report."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.errors import ConfigError
from pipeline.types import Task
from tests.digit_tasks import LABELS_OF, digits_of
from trainer.auxiliary import AuxiliaryLoss
from trainer.calibration import calibrate, fit_temperature
from trainer.early_stopping import EarlyStopping
from trainer.evaluate import Predictions
from trainer.fit import Training, fit
from trainer.gate import compare
from trainer.pictures import curves_png
from trainer.progress import PlainProgress
from trainer.report import table_of, write_report
from trainer.run_folder import EpochRecord, RunFolder
from trainer.settings import FitSettings
from trainer.tasks import MEASURES, evaluate, loss_of, read_as, scores_of
from trainer.tracking import scalars
from trainer.train import figures_of

FIGURE: dict[Task, str] = {"multi-label": "macro_f1", "regression": "rmse"}
SETTINGS = FitSettings(epochs=3, optimizer="adam", lr=0.001)


def record(epoch: int, **figures: float | None) -> EpochRecord:
    return EpochRecord(
        epoch=epoch, train_loss=1.0, duration_s=1.0, **{"heldout_loss": 1.0, **figures}
    )


def labelled(samples: int, temperature: float) -> Predictions:
    """Four labels, drawn from the sigmoid of the logits divided by ``temperature``."""
    generator = torch.Generator().manual_seed(0)
    true_nk = 2 * torch.randn(samples, 4, generator=generator)
    targets_nk = torch.bernoulli(true_nk.sigmoid(), generator=generator)
    return Predictions(tuple("abcd"), true_nk * temperature, targets_nk, "multi-label")


@pytest.mark.parametrize("task", list(LABELS_OF))
def test_each_task_has_torchs_loss_also_of_auxiliary_heads(task: Task):
    outputs = torch.randn(3, 2, generator=torch.Generator().manual_seed(1))
    plain = {
        "single-label": nn.functional.cross_entropy,
        "multi-label": nn.functional.binary_cross_entropy_with_logits,
        "regression": nn.functional.mse_loss,
    }[task]
    targets = torch.tensor([0, 1, 1]) if task == "single-label" else torch.eye(3)[:, :2]
    loss = AuxiliaryLoss(loss_of(task), weight=0.5)((outputs, 2 * outputs), targets)
    expected = plain(outputs, targets) + 0.5 * plain(2 * outputs, targets)
    assert loss.item() == pytest.approx(expected.item())


@pytest.mark.parametrize("task", ["multi-label", "regression"])
def test_a_network_learns_and_its_best_epoch_is_the_tasks(tmp_path: Path, task: Task):
    data = digits_of(task)
    run = RunFolder(tmp_path)
    reports = []
    result = fit(data, SETTINGS, run, on_epoch=reports.append)
    assert result.history[-1].train_loss < 0.9 * result.history[0].train_loss
    lines = [json.loads(line) for line in run.history.read_text().splitlines()]
    assert all(line.keys() & {"accuracy", "macro_f1", "rmse"} == {FIGURE[task]} for line in lines)
    best = max(lines, key=lambda line: line.get("macro_f1", -line["heldout_loss"]))
    assert result.best.epoch == best["epoch"]
    assert [each.is_best for each in reports].count(True) >= 1
    assert reports[best["epoch"] - 1].is_best
    assert result.evaluation.figures[FIGURE[task]] == pytest.approx(best[FIGURE[task]], rel=1e-4)
    for name, value in reports[0].evaluation.figures.items():
        assert scalars(reports[0])[name] == value
    assert json.loads((tmp_path / "run.json").read_text())["task"] == task


def test_a_run_goes_on_with_its_own_task_alone(tmp_path: Path):
    run = RunFolder(tmp_path)
    settings = FitSettings(epochs=1)
    fit(digits_of("multi-label"), settings, run)
    fit(digits_of("multi-label"), settings, run, resume=True)
    with pytest.raises(ConfigError, match="task multi-label, now regression"):
        fit(digits_of("regression"), settings, run, resume=True)


def test_the_goal_is_accuracy_macro_f1_or_the_least_loss():
    assert record(1, accuracy=0.7).goal == 0.7
    assert record(1, macro_f1=0.6).goal == 0.6
    assert record(1, rmse=2.0, heldout_loss=4.0).goal == -4.0
    assert record(1, rmse=math.nan, heldout_loss=math.nan).goal == -math.inf
    losses = [9.0, 4.0, 3.9, 3.8]
    goals = [record(1, rmse=loss**0.5, heldout_loss=loss).goal for loss in losses]
    assert EarlyStopping(patience=2, min_delta=0.5).is_due(goals)
    assert not EarlyStopping(patience=2).is_due(goals)
    said = [
        record(1, **each).achieved for each in ({"accuracy": 0.5}, {"macro_f1": 0.25}, {"rmse": 2})
    ]
    assert said == ["accuracy 50.0%", "macro F1 25.0%", "RMSE 2"]


def test_labels_are_calibrated_by_one_temperature_that_changes_no_answer():
    predictions = labelled(20_000, 3.0)
    assert fit_temperature(predictions) == pytest.approx(3.0, rel=0.03)
    calibration = calibrate(predictions)
    before, after = calibration.before.figures, calibration.after.figures
    assert after["ece"] < 0.02
    assert before["ece"] > 0.1
    assert after["macro_f1"] == before["macro_f1"]
    assert figures_of(calibration) == {**after, "temperature": calibration.temperature}
    assert "(temperature 3" in str(calibration)


def test_labels_without_a_mistake_tell_no_temperature():
    targets_nk = torch.eye(4).repeat(10, 1)
    predictions = Predictions(tuple("abcd"), 8 * targets_nk - 4, targets_nk, "multi-label")
    assert "too few mistakes" in str(calibrate(predictions))


def test_values_are_never_calibrated(tmp_path: Path):
    predictions = Predictions(
        ("v",), torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [4.0]]), "regression"
    )
    calibration = calibrate(predictions)
    assert calibration.temperature == 1
    assert "no confidences" in str(calibration)
    assert set(figures_of(calibration)) == {"mae", "rmse", "r2"}
    write_report(tmp_path, [record(1, rmse=1.0)], 1, calibration)
    report = json.loads((tmp_path / "evaluation.json").read_text())
    assert (report["task"], report["mae"], report["samples"]) == ("regression", 1, 2)
    assert report["values"] == [
        {
            "label": "v",
            "mae": 1.0,
            "rmse": pytest.approx(2**0.5, abs=1e-6),
            "r2": pytest.approx(1 - 4 / 4.5, abs=1e-6),
        }
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "evaluation.json"]
    table = table_of(calibration.after)
    assert table.columns == ("MAE", "RMSE", "R²", "value")
    assert table.rows == [("1", "1.414", "0.1111", "v")]


def test_a_report_on_labels_has_each_ones_scores_and_no_matrix(tmp_path: Path):
    calibration = calibrate(labelled(200, 2.0))
    write_report(tmp_path, [record(1, macro_f1=0.5), record(2, macro_f1=0.6)], 2, calibration)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "evaluation.json"]
    report = json.loads((tmp_path / "evaluation.json").read_text())
    assert (report["task"], report["samples"]) == ("multi-label", 200)
    assert [each["label"] for each in report["labels"]] == list("abcd")
    assert sum(each["samples"] for each in report["before_calibration"]["bins"]) == 800
    table = table_of(calibration.after)
    assert table.columns == ("samples", "precision", "recall", "F1", "label")
    assert [row[-1] for row in table.rows] == list("abcd")


def test_the_worst_of_many_labels_are_shown():
    targets_nk = torch.ones(2, 30)
    logits_nk = torch.ones(2, 30)
    logits_nk[0, 7] = -1
    labels = tuple(f"l{index}" for index in range(30))
    table = table_of(evaluate(Predictions(labels, logits_nk, targets_nk, "multi-label")))
    assert table.title == "the worst of 30 labels"
    assert (len(table.rows), table.rows[0][-1]) == (10, "l7")


@pytest.mark.parametrize("task", ["multi-label", "regression"])
def test_curves_are_drawn_of_the_tasks_figure(task: Task):
    low, high = (
        curves_png([record(1, **{FIGURE[task]: 0.5}), record(2, **{FIGURE[task]: value})], 1, task)
        for value in (0.1, 0.9)
    )
    assert low != high


def test_numbers_that_are_all_0_or_1_can_be_read_as_labels():
    data = digits_of("multi-label", train=20, heldout=10)
    data.train.task = data.heldout.task = "regression"  # as a table of numbers is read
    read_as(data, "regression")
    assert data.task == "regression"
    read_as(data, "multi-label")
    assert (data.train.task, data.heldout.task) == ("multi-label", "multi-label")
    training = Training(data, FitSettings(batch_size=10))
    assert training.learn(1, PlainProgress()).loss == pytest.approx(math.log(2), rel=0.2)


@pytest.mark.parametrize(
    ("there", "task", "says"),
    [
        ("regression", "multi-label", "expected 0 or 1 for each label"),
        ("single-label", "multi-label", "--task is multi-label, and the data are single-label"),
        ("multi-label", "single-label", "the data are multi-label"),
        ("multi-label", "regression", "the data are multi-label"),
    ],
)
def test_targets_of_another_task_are_refused(there: Task, task: Task, says: str):
    data = digits_of(there, train=20, heldout=10)
    with pytest.raises(ConfigError, match=says):
        read_as(data, task)
    assert data.task == there


def test_targets_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"targets are \[2\], expected \[2, 3\]: multi-label"):
        Predictions(tuple("abc"), torch.zeros(2, 3), torch.zeros(2), "multi-label")


def test_a_sample_of_several_labels_is_worth_its_f1_to_the_gate():
    given_nk = [[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]]
    there_nk = [[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0], [1, 0, 1, 1]]
    logits_nk = 2 * torch.tensor(given_nk, dtype=torch.float32) - 1
    logits_nk = torch.cat([logits_nk, torch.tensor([[1.0, math.nan, -1.0, -1.0]])])
    targets_nk = torch.tensor([*there_nk, [1, 0, 0, 0]], dtype=torch.float32)
    said = Predictions(tuple("abcd"), logits_nk, targets_nk, "multi-label")
    assert scores_of(said).tolist() == [1.0, 0.5, 1.0, 0.0, 0.0, 0.0]


def test_with_many_labels_a_worse_network_is_found_though_neither_has_a_sample_all_right():
    generator = torch.Generator().manual_seed(0)
    there_nk = torch.rand(200, 40, generator=generator) < 0.2

    def said(mistaken: float) -> Predictions:
        given_nk = there_nk ^ (torch.rand(200, 40, generator=generator) < mistaken)
        labels = tuple(str(label) for label in range(40))
        return Predictions(labels, given_nk.double() - 0.5, there_nk.double(), "multi-label")

    better, worse = scores_of(said(0.15)), scores_of(said(0.20))
    assert compare(worse, better, MEASURES["multi-label"]).is_worse(0.0)
    assert not compare(better, worse, MEASURES["multi-label"]).is_worse(0.0)


def test_a_regression_is_worth_its_squared_error_and_nothing_if_it_is_not_finite():
    outputs_nk = torch.tensor([[1.0, 2.0], [math.inf, 0.0]])
    said = Predictions(("x", "y"), outputs_nk, torch.zeros(2, 2), "regression")
    assert scores_of(said).tolist() == [-2.5, -math.inf]
