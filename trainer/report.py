"""What a run's folder says of the network that was kept, and what the terminal shows of it.

    evaluation.json   figures of all classes, the confusion matrix, the confidences' bins
    curves.png        losses and accuracy over the epochs
    confusion.png     the matrix, or the commonest mistakes of many classes

Each is replaced whole, when training is over.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer.calibration import Calibration
from trainer.checkpoint import write_atomically
from trainer.evaluate import ECE_BINS, ClassScore, Evaluation
from trainer.pictures import confusion_png, curves_png, shown
from trainer.run_folder import EpochRecord

_FORMAT = "headrace.evaluation/1"

_MOST_CLASSES = 20
_WORST_CLASSES = 10

TABLE_COLUMNS = ("samples", "precision", "recall", "F1", "class", "most often taken for")


def write_report(
    folder: Path, history: Sequence[EpochRecord], best_epoch: int, calibration: Calibration
) -> None:
    """Writes the three files, each whole or not at all.

    Raises:
        HeadraceError: the folder can't be written.
    """
    document = {"schema": _FORMAT, "epoch": best_epoch, **_document(calibration)}
    # A line for each key: a matrix of a thousand classes would be a million lines.
    lines = (f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in document.items())
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    write_atomically(folder / "evaluation.json", text.encode())
    write_atomically(folder / "curves.png", curves_png(history, best_epoch))
    write_atomically(folder / "confusion.png", confusion_png(calibration.before))


def _document(calibration: Calibration) -> dict[str, Any]:
    evaluation = calibration.before
    return {
        "samples": evaluation.samples,
        "accuracy": _rounded(evaluation.accuracy),
        "macro_precision": _rounded(evaluation.macro_precision),
        "macro_recall": _rounded(evaluation.macro_recall),
        "macro_f1": _rounded(evaluation.macro_f1),
        "temperature": _rounded(calibration.temperature),
        "before_calibration": _confidences(calibration.before),
        "after_calibration": _confidences(calibration.after),
        "classes": [_class(score) for score in evaluation.classes],
        "confusion": evaluation.confusion_kk.tolist(),
    }


def _confidences(evaluation: Evaluation) -> dict[str, Any]:
    bins = [
        {
            "upto": _rounded((index + 1) / ECE_BINS),
            "samples": each.samples,
            "correct": each.correct,
            "confidence_mean": _rounded(each.confidence_sum / each.samples)
            if each.samples
            else None,
        }
        for index, each in enumerate(evaluation.bins)
    ]
    return {"loss": _rounded(evaluation.loss), "ece": _rounded(evaluation.ece), "bins": bins}


def _class(score: ClassScore) -> dict[str, Any]:
    return {
        "label": score.label,
        "samples": score.samples,
        "predicted": score.predicted,
        "correct": score.correct,
        "precision": _rounded(score.precision),
        "recall": _rounded(score.recall),
        "f1": _rounded(score.f1),
    }


def _rounded(value: float | None) -> float | None:
    """To six places; JSON knows no NaN."""
    return round(value, 6) if value is not None and math.isfinite(value) else None


def class_rows(evaluation: Evaluation) -> list[tuple[str, ...]]:
    """Cells below ``TABLE_COLUMNS`` for each class, or of many for those of the lowest F1."""
    scores = list(enumerate(evaluation.classes))
    if len(scores) > _MOST_CLASSES:
        judged = (each for each in scores if each[1].f1 is not None)
        scores = sorted(judged, key=lambda each: each[1].f1 or 0.0)[:_WORST_CLASSES]
    return [
        (
            str(score.samples),
            _percent(score.precision),
            _percent(score.recall),
            _percent(score.f1),
            shown(score.label),
            _taken_for(evaluation, index),
        )
        for index, score in scores
    ]


def table_title(evaluation: Evaluation) -> str | None:
    """What ``class_rows`` has where it hasn't all classes."""
    many = len(evaluation.labels)
    return f"the worst of {many} classes" if many > _MOST_CLASSES else None


def _taken_for(evaluation: Evaluation, index: int) -> str:
    mistakes_k = evaluation.confusion_kk[index].clone()
    mistakes_k[index] = 0
    most, other = mistakes_k.max(0)
    return f"{shown(evaluation.labels[int(other)])} ({int(most)})" if most > 0 else "-"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
