"""A run as pictures, PNG: its curves, and what was taken for what.

Drawn by matplotlib's objects alone: pyplot's figures and its choice of a window system are the
process's. matplotlib is imported when something is drawn, as it takes half a second.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from pipeline.types import Task
from trainer.evaluate import Evaluation
from trainer.run_folder import EpochRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

MOST_CELLS_A_SIDE = 30
"""Classes that a matrix shows with readable numbers; of more, only what is confused most."""

_MOST_PAIRS = 25
_LONGEST_LABEL = 24
_DPI = 120
_CELL_INCHES = 0.36
"""Room for five digits of ``_CELL_POINTS``."""
_CELL_POINTS = 7
_DARK_SHARE = 0.5
"""Above it a cell is dark, and its number light."""


_Figure: TypeAlias = Callable[[EpochRecord], float]

_CURVES: Mapping[Task, tuple[str, str, _Figure]] = {
    "single-label": (
        "mean cross-entropy (nats)",
        "accuracy on held-out data (%)",
        lambda record: 100 * (record.accuracy or 0.0),
    ),
    "multi-label": (
        "mean binary cross-entropy (nats)",
        "macro F1 on held-out data (%)",
        lambda record: 100 * (record.macro_f1 or 0.0),
    ),
    "regression": (
        "mean squared error",
        "RMSE on held-out data",
        lambda record: record.rmse or 0.0,
    ),
}
"""What the losses are, and the figure beside them."""


def curves_png(
    history: Sequence[EpochRecord], best_epoch: int, task: Task = "single-label"
) -> bytes:
    """Losses and the task's figure over the epochs; a line marks the epoch that was kept."""
    loss, figure_name, figure_of = _CURVES[task]
    with _drawing():
        figure = _figure(width=10, height=4)
        losses, achieved = figure.subplots(1, 2)
        epochs = [record.epoch for record in history]
        # A curve of one point is invisible without its marker.
        style = {"marker": "o", "markersize": 3}
        losses.plot(epochs, [each.train_loss for each in history], label="training", **style)
        losses.plot(epochs, [each.heldout_loss for each in history], label="held-out", **style)
        losses.set_ylabel(loss)
        achieved.plot(epochs, [figure_of(each) for each in history], color="C1", **style)
        achieved.set_ylabel(figure_name)
        for axes in (losses, achieved):
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(_whole_numbers())
            axes.axvline(best_epoch, color="grey", linestyle=":", label=f"kept: {best_epoch}")
            axes.grid(alpha=0.3)
            axes.legend()
        return _png(figure)


def confusion_png(evaluation: Evaluation) -> bytes:
    """The confusion matrix; of more than ``MOST_CELLS_A_SIDE`` classes the commonest mistakes."""
    with _drawing():
        if len(evaluation.labels) <= MOST_CELLS_A_SIDE:
            return _png(_matrix(evaluation))
        return _png(_pairs(evaluation))


def _matrix(evaluation: Evaluation) -> Figure:
    labels = [shown(label) for label in evaluation.labels]
    counts_kk = evaluation.confusion_kk
    shares_kk = counts_kk / counts_kk.sum(1, keepdim=True).clamp(min=1)
    # Both have to hold the labels beside the cells; one the colours' legend too.
    side = 1.5 + 0.08 * max(len(label) for label in labels) + _CELL_INCHES * len(labels)
    figure = _figure(width=max(5.0, side + 1), height=max(4.0, side))
    axes = figure.subplots()
    image = axes.imshow(shares_kk.numpy(), cmap="Blues", vmin=0, vmax=1)
    for true, row in enumerate(counts_kk.tolist()):
        for named, count in enumerate(row):
            if count:
                color = "white" if shares_kk[true, named] > _DARK_SHARE else "black"
                place = {"ha": "center", "va": "center", "fontsize": _CELL_POINTS}
                axes.text(named, true, str(count), color=color, **place)
    axes.set_xticks(range(len(labels)), labels, rotation=90)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    _title(axes, evaluation)
    figure.colorbar(image, label="share of the true class", shrink=0.6)
    return figure


def _pairs(evaluation: Evaluation) -> Figure:
    worst = evaluation.confusions(_MOST_PAIRS)
    figure = _figure(width=9, height=1.5 + 0.28 * max(1, len(worst)))
    axes = figure.subplots()
    _title(axes, evaluation)
    if not worst:
        axes.text(0.5, 0.5, "no mistakes", ha="center", va="center", transform=axes.transAxes)
        axes.set_axis_off()
        return figure
    # By places, not by names: two that are cut off may be the same.
    bars = axes.barh(range(len(worst)), [each.samples for each in worst])
    axes.bar_label(bars, padding=2, fontsize=_CELL_POINTS)
    names = [f"{shown(each.true)} → {shown(each.predicted)}" for each in worst]
    axes.set_yticks(range(len(worst)), names)
    axes.invert_yaxis()
    axes.margins(x=0.1, y=0.01)
    axes.xaxis.set_major_locator(_whole_numbers())
    axes.set_xlabel("samples (true → predicted class)")
    return figure


def _title(axes: Axes, evaluation: Evaluation) -> None:
    axes.set_title(
        f"accuracy {evaluation.accuracy:.1%} of {evaluation.samples} held-out samples,"
        f" {len(evaluation.labels)} classes",
        fontsize=10,
    )


def shown(label: str) -> str:
    """A label of any length and any characters, as one short line that can be printed."""
    plain = "".join(each if each.isprintable() else "?" for each in label)
    return plain if len(plain) <= _LONGEST_LABEL else f"{plain[: _LONGEST_LABEL - 1]}…"


@contextmanager
def _drawing() -> Iterator[None]:
    """Labels are plain text, whatever is in them and in the user's matplotlibrc."""
    import matplotlib as mpl

    with (
        warnings.catch_warnings(),
        mpl.rc_context({"text.parse_math": False, "text.usetex": False}),
    ):
        # A box is drawn where the font lacks a character; nobody can do anything about it here.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from", UserWarning)
        yield


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=_DPI, layout="constrained")


def _whole_numbers() -> MaxNLocator:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(integer=True)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
