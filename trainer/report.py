"""What a run's folder says of the network that was kept, and what the terminal shows of it.

    evaluation.json   figures of all classes, labels or values; confidences' bins, confusion matrix
    curves.png        losses and the task's figure over the epochs
    confusion.png     the matrix, or the commonest mistakes of many classes: single-label alone

Each is replaced whole, when training is over.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trainer.calibration import Calibration
from trainer.checkpoint import write_atomically
from trainer.evaluate import ECE_BINS, ClassScore, Evaluation
from trainer.evaluate_labels import LabelsEvaluation
from trainer.evaluate_values import ValueScore, ValuesEvaluation
from trainer.pictures import confusion_png, curves_png, shown
from trainer.run_folder import EpochRecord
from trainer.tasks import AnyEvaluation

_FORMAT = "headrace.evaluation/1"

_MOST_CLASSES = 20
_WORST_CLASSES = 10

_SHARES = ("samples", "precision", "recall", "F1")
TABLE_COLUMNS = (*_SHARES, "class", "most often taken for")


def write_report(
    folder: Path, history: Sequence[EpochRecord], best_epoch: int, calibration: Calibration
) -> None:
    """Writes the files, each whole or not at all.

    Raises:
        HeadraceError: the folder can't be written.
    """
    document = {"schema": _FORMAT, "epoch": best_epoch, **_document(calibration)}
    # A line for each key: a matrix of a thousand classes would be a million lines.
    lines = (f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in document.items())
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    write_atomically(folder / "evaluation.json", text.encode())
    judged = calibration.before
    write_atomically(folder / "curves.png", curves_png(history, best_epoch, judged.task))
    if isinstance(judged, Evaluation):
        write_atomically(folder / "confusion.png", confusion_png(judged))


def _document(calibration: Calibration) -> dict[str, Any]:
    evaluation = calibration.before
    match evaluation:
        case ValuesEvaluation():
            return {
                "task": evaluation.task,
                "samples": evaluation.samples,
                "loss": _rounded(evaluation.loss),
                "mae": _rounded(evaluation.mae),
                "rmse": _rounded(evaluation.rmse),
                "r2": _rounded(evaluation.r2),
                "values": [_value(score) for score in evaluation.scores],
            }
        case LabelsEvaluation():
            return {
                "task": evaluation.task,
                "samples": evaluation.samples,
                "exact_match": _rounded(evaluation.exact_match),
                **_means(evaluation),
                **_calibration(calibration),
                "labels": [_class(score) for score in evaluation.scores],
            }
        case Evaluation():
            return {
                "samples": evaluation.samples,
                "accuracy": _rounded(evaluation.accuracy),
                **_means(evaluation),
                **_calibration(calibration),
                "classes": [_class(score) for score in evaluation.classes],
                "confusion": evaluation.confusion_kk.tolist(),
            }


def _means(evaluation: Evaluation | LabelsEvaluation) -> dict[str, Any]:
    return {
        "macro_precision": _rounded(evaluation.macro_precision),
        "macro_recall": _rounded(evaluation.macro_recall),
        "macro_f1": _rounded(evaluation.macro_f1),
    }


def _calibration(calibration: Calibration) -> dict[str, Any]:
    return {
        "temperature": _rounded(calibration.temperature),
        "before_calibration": _confidences(calibration.before),
        "after_calibration": _confidences(calibration.after),
    }


def _confidences(evaluation: AnyEvaluation) -> dict[str, Any]:
    """Nothing of values: they have none."""
    if isinstance(evaluation, ValuesEvaluation):
        return {}
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


def _value(score: ValueScore) -> dict[str, Any]:
    return {
        "label": score.label,
        "mae": _rounded(score.mae),
        "rmse": _rounded(score.rmse),
        "r2": _rounded(score.r2),
    }


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


class Table(NamedTuple):
    """What the terminal shows: cells below ``columns``, and what they are where not all are."""

    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    title: str | None = None


def table_of(evaluation: AnyEvaluation) -> Table:
    """A row for each class, label or value."""
    match evaluation:
        case Evaluation():
            return Table(TABLE_COLUMNS, class_rows(evaluation), table_title(evaluation))
        case LabelsEvaluation():
            chosen = _worst(evaluation.scores)
            rows = [(*_shares(score), shown(score.label)) for _, score in chosen]
            return Table((*_SHARES, "label"), rows, _title(len(evaluation.scores), "labels"))
        case ValuesEvaluation():
            rows = [(*_errors(score), shown(score.label)) for score in evaluation.scores]
            return Table(("MAE", "RMSE", "R²", "value"), rows)


def class_rows(evaluation: Evaluation) -> list[tuple[str, ...]]:
    """Cells below ``TABLE_COLUMNS`` for each class, or of many for those of the lowest F1."""
    return [
        (*_shares(score), shown(score.label), _taken_for(evaluation, index))
        for index, score in _worst(evaluation.classes)
    ]


def table_title(evaluation: Evaluation) -> str | None:
    """What ``class_rows`` has where it hasn't all classes."""
    return _title(len(evaluation.labels), "classes")


def _title(many: int, what: str) -> str | None:
    return f"the worst of {many} {what}" if many > _MOST_CLASSES else None


def _worst(scores: Sequence[ClassScore]) -> list[tuple[int, ClassScore]]:
    """All with their places, or of many those of the lowest F1."""
    numbered = list(enumerate(scores))
    if len(numbered) <= _MOST_CLASSES:
        return numbered
    judged = (each for each in numbered if each[1].f1 is not None)
    return sorted(judged, key=lambda each: each[1].f1 or 0.0)[:_WORST_CLASSES]


def _shares(score: ClassScore) -> tuple[str, ...]:
    shares = (score.precision, score.recall, score.f1)
    return (str(score.samples), *map(_percent, shares))


def _taken_for(evaluation: Evaluation, index: int) -> str:
    mistakes_k = evaluation.confusion_kk[index].clone()
    mistakes_k[index] = 0
    most, other = mistakes_k.max(0)
    return f"{shown(evaluation.labels[int(other)])} ({int(most)})" if most > 0 else "-"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _errors(score: ValueScore) -> tuple[str, ...]:
    return tuple(map(_number, (score.mae, score.rmse, score.r2)))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
