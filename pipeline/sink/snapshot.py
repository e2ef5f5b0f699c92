"""What the live view says at one moment, in the shapes that go over the wire as JSON.

Ages and pauses are milliseconds, times Unix seconds, accuracies and confidences 0 to 1.
"""

from __future__ import annotations

from itertools import islice
from typing import TypedDict

from pipeline.drift import DriftState
from pipeline.types import ModelIdentity, Scored, SwapEvent, Task, TrialState

_SHOWN = 5

PredictionRow = TypedDict(
    "PredictionRow", {"class": str, "class_id": int, "confidence": float}, total=True
)


class ValueRow(TypedDict):
    """One value of a regression."""

    name: str
    value: float


class ModelRow(TypedDict):
    """See ``ModelIdentity``."""

    name: str
    version: int
    sha256: str
    epoch: int


class AgeRow(TypedDict):
    """Quantiles of the recent frames' ages from capture to score."""

    p50: float
    p99: float


class FrameRow(TypedDict):
    """The last scored frame of a stream. A regression has values, the others predictions: the
    first of them."""

    frame_id: str
    task: Task
    predictions: list[PredictionRow]
    values: list[ValueRow]
    truth: str | None
    is_right: bool | None
    age_ms: float
    fresh: bool
    model_version: int
    width: int
    height: int


class CountRow(TypedDict):
    """Outcomes by kind."""

    scored: int
    shed: int
    rejected: int


class StreamRow(TypedDict):
    """One stream. ``idle_s`` is the time since its last outcome."""

    stream: str
    frame: FrameRow | None
    outcomes: CountRow
    accuracy: float | None
    idle_s: float
    last_rejection: str | None


class VersionRow(TypedDict):
    """How right one version of a model was, over all frames it scored whose truth is known."""

    name: str
    version: int
    sha256: str
    accuracy: float
    frames: int


class SwapRow(TypedDict):
    """See ``SwapEvent``."""

    at: float
    name: str
    version: int
    sha256: str
    epoch: int
    result: str
    detail: str
    pause_ms: float


class TrialRow(TypedDict):
    """See ``TrialState``."""

    name: str
    version: int
    sha256: str
    rollout: str
    since: float
    frames: int
    findings: str


class MovedRow(TypedDict):
    """See ``pipeline.drift.Drift``."""

    psi: float
    by_chance: float
    excess: float


class DriftRow(TypedDict):
    """See ``DriftState``."""

    frames: int
    moved: dict[str, MovedRow]


class AccuracyPoint(TypedDict):
    """One second, or the part of one until another version scored."""

    at: float
    right: int
    frames: int
    version: int


class BatchRow(TypedDict):
    """How many of the recent batches held ``at_most`` frames, and more than half as many."""

    at_most: int
    batches: int


class LiveSnapshot(TypedDict):
    """All that the page and the terminal's table show of the outcomes.

    ``outcomes`` counts what came to this sink; frames that were turned away for want of credit
    never do, so totals are better taken from the journal's counts. ``other`` is what the streams
    without a row of their own add up to. ``model`` is the one that scored last.
    """

    at: float
    model: ModelRow | None
    frames_per_s: float
    age_ms: AgeRow | None
    accuracy: float | None
    accuracy_frames: int
    outcomes: CountRow
    streams: list[StreamRow]
    other: CountRow
    versions: list[VersionRow]
    batches: list[BatchRow]
    mean_batch: float | None
    trial: TrialRow | None
    drift: DriftRow | None
    swaps: list[SwapRow]
    history: list[AccuracyPoint]


def model_row(model: ModelIdentity) -> ModelRow:
    """A model's identity for the wire."""
    return {
        "name": model.name,
        "version": model.version,
        "sha256": model.sha256,
        "epoch": model.epoch,
    }


def frame_row(scored: Scored) -> FrameRow:
    """A scored frame for the wire."""
    frame = scored.frame
    return {
        "frame_id": frame.frame_id,
        "task": scored.task,
        "predictions": [
            {
                "class": each.label,
                "class_id": each.class_id,
                "confidence": round(each.confidence, 4),
            }
            for each in scored.predictions[:_SHOWN]
        ],
        # A list, as browsers put an object's names that are numbers first.
        "values": [
            {"name": name, "value": value}
            for name, value in islice((scored.values or {}).items(), _SHOWN)
        ],
        "truth": frame.truth,
        "is_right": scored.is_right,
        "age_ms": round(1000 * age_s(scored), 2),
        "fresh": not frame.is_stale(scored.scored_at),
        "model_version": scored.model.version,
        "width": scored.width,
        "height": scored.height,
    }


def swap_row(event: SwapEvent) -> SwapRow:
    """A swap or refusal for the wire."""
    return {
        "at": event.at,
        "name": event.name,
        "version": event.version,
        "sha256": event.sha256,
        "epoch": event.epoch,
        "result": event.result,
        "detail": event.detail,
        "pause_ms": round(1000 * event.pause_s, 3),
    }


def trial_row(state: TrialState) -> TrialRow:
    """A candidate on trial for the wire."""
    return {
        "name": state.name,
        "version": state.version,
        "sha256": state.sha256,
        "rollout": state.rollout,
        "since": state.since,
        "frames": state.frames,
        "findings": state.findings,
    }


def drift_row(state: DriftState) -> DriftRow:
    """Drift for the wire."""
    return {
        "frames": state.frames,
        "moved": {
            statistic: {
                "psi": round(found.psi, 4),
                "by_chance": round(found.by_chance, 4),
                "excess": round(found.excess, 4),
            }
            for statistic, found in state.moved.items()
        },
    }


def age_s(scored: Scored) -> float:
    """From capture to score; a camera's clock that is ahead of ours makes no negative ages."""
    return max(0.0, scored.scored_at - scored.frame.captured_at)
