from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.opencv import cv2
from tests.unit.trainer.judged import drawn, named
from trainer.calibration import Calibration, calibrate
from trainer.evaluate import ECE_BINS, Evaluation
from trainer.pictures import confusion_png, curves_png, shown
from trainer.report import TABLE_COLUMNS, class_rows, table_title, write_report
from trainer.run_folder import EpochRecord

HOSTILE = (
    "$x_{",
    "$\\frac$",
    "a" * 400,
    "two\nlines\tand \x1b[31mcolours",
    "日本語 🐈",
    "half a pair \ud800",
    "%s {} \\",
    " ",
    "<b>&amp;",
)
LEAST_INK = 0.01


def records(*losses: float) -> list[EpochRecord]:
    return [
        EpochRecord(
            epoch=epoch, train_loss=loss, heldout_loss=loss + 0.1, accuracy=0.5, duration_s=1.0
        )
        for epoch, loss in enumerate(losses, start=1)
    ]


def of_classes(labels: tuple[str, ...] | list[str]) -> Evaluation:
    """Each class is taken for itself three times and for the next one once."""
    many = len(labels)
    pairs = [(index, index) for index in range(many)] * 3
    pairs += [(index, (index + 1) % many) for index in range(many)]
    return Evaluation.of(named(labels, pairs))


def check_picture(png: bytes) -> tuple[int, int]:
    """Width and height in pixels of a picture that has something on it."""
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    assert (picture < 250).mean() > LEAST_INK
    return picture.shape[1], picture.shape[0]


@pytest.mark.parametrize("losses", [(1.0,), (1.0, 0.5, 0.4), (2.0, float("nan"), 1.0)])
def test_curves_are_drawn_of_one_epoch_and_of_many(losses: tuple[float, ...]):
    assert check_picture(curves_png(records(*losses), best_epoch=1)) == (1200, 480)


@pytest.mark.parametrize("classes", [1, 2, 10, 30, 31, 1000])
def test_the_picture_of_the_matrix_is_readable_for_any_number_of_classes(classes: int):
    width, height = check_picture(confusion_png(of_classes([f"c{n}" for n in range(classes)])))
    assert 480 <= width <= 2000
    assert 300 <= height <= 2000


def test_a_thousand_classes_without_a_mistake_are_drawn():
    evaluation = Evaluation.of(named([f"c{n}" for n in range(1000)], [(5, 5)]))
    confusion_png(evaluation)


@pytest.mark.parametrize("times", [1, 4], ids=["matrix", "pairs"])
def test_labels_of_any_characters_and_length_are_drawn(times: int):
    labels = [f"{label}{number}" for number in range(times) for label in HOSTILE]
    width, height = check_picture(confusion_png(of_classes(labels)))
    assert max(width, height) < 2000


def test_a_label_is_shown_on_one_short_line():
    assert shown("cat") == "cat"
    assert shown("a\nb\x1b[0m") == "a?b?[0m"
    assert len(shown("a" * 400)) == 24
    assert shown("x" + "\ud800").encode() == b"x?"


def test_neither_windows_nor_pyplot_are_touched_and_matplotlib_only_to_draw():
    code = """
import sys
import trainer.train
assert "matplotlib" not in sys.modules
from tests.unit.trainer.test_report import of_classes
from trainer.pictures import confusion_png
confusion_png(of_classes(["a", "b"]))
assert "matplotlib" in sys.modules and "matplotlib.pyplot" not in sys.modules
"""
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True, timeout=60)


def test_the_report_says_all_that_the_figures_are_made_of(tmp_path: Path):
    calibration = calibrate(drawn(2000, 3.0))
    write_report(tmp_path, records(0.9, 0.5), 2, calibration)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "confusion.png",
        "curves.png",
        "evaluation.json",
    ]
    report = json.loads((tmp_path / "evaluation.json").read_text())
    assert (report["schema"], report["epoch"]) == ("headrace.evaluation/1", 2)
    assert report["samples"] == 2000 == sum(map(sum, report["confusion"]))
    assert report["accuracy"] == pytest.approx(np.trace(report["confusion"]) / 2000)
    assert report["temperature"] == pytest.approx(calibration.temperature, abs=1e-6)
    before, after = report["before_calibration"], report["after_calibration"]
    assert after["ece"] < before["ece"]
    assert len(before["bins"]) == ECE_BINS
    gaps = [
        abs(each["correct"] - each["samples"] * (each["confidence_mean"] or 0))
        for each in before["bins"]
    ]
    assert sum(gaps) / 2000 == pytest.approx(before["ece"], abs=1e-5)
    assert [each["label"] for each in report["classes"]] == list("abcde")
    assert [each["samples"] for each in report["classes"]] == [
        sum(row) for row in report["confusion"]
    ]


def test_a_report_is_json_whatever_the_figures_and_labels_are(tmp_path: Path):
    evaluation = of_classes(HOSTILE)
    broken = Evaluation(evaluation.labels, evaluation.confusion_kk, float("nan"), evaluation.bins)
    write_report(tmp_path, records(float("nan")), 1, Calibration.none(broken))

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = (tmp_path / "evaluation.json").read_text()
    report = json.loads(text, parse_constant=refuse)
    assert report["before_calibration"]["loss"] is None
    assert [each["label"] for each in report["classes"]] == list(HOSTILE)


def test_the_table_has_a_row_for_each_of_few_classes():
    evaluation = Evaluation.of(named(["cat", "dog", "eel"], [(0, 0), (0, 1), (0, 1), (1, 1)]))
    assert table_title(evaluation) is None
    rows = [dict(zip(TABLE_COLUMNS, row, strict=True)) for row in class_rows(evaluation)]
    assert [row["class"] for row in rows] == ["cat", "dog", "eel"]
    assert rows[0] == {
        "samples": "3",
        "precision": "100.0%",
        "recall": "33.3%",
        "F1": "50.0%",
        "class": "cat",
        "most often taken for": "dog (2)",
    }
    assert rows[1]["most often taken for"] == "-"
    assert rows[2]["precision"] == "-"


def test_the_table_has_the_worst_of_many_classes():
    labels = [f"c{number}" for number in range(21)]
    pairs = [(index, index) for index in range(20)] * 2 + [(7, 3), (9, 3), (9, 4)]
    evaluation = Evaluation.of(named(labels, pairs))
    assert table_title(evaluation) == "the worst of 21 classes"
    rows = class_rows(evaluation)
    assert len(rows) == 10
    assert [row[4] for row in rows[:3]] == ["c3", "c9", "c4"]  # 2 of 3, 2 of 3, 4 of 5
