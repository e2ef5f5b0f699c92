"""A result on the wire: one flat JSON object for each frame, after `schema/result.schema.json`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache

import orjson

from pipeline.types import Frame, Outcome, Rejected, Scored, Timings

RESULT_SCHEMA = "headrace.result/1"

_LAST_MOMENT = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
"""RFC 3339 has four digits for a year; a producer's clock may say anything."""

_MOST_PREDICTIONS = 5


def encode_row(outcome: Outcome, written_at: float | None = None) -> bytes:
    """The row of an outcome: UTF-8 JSON without blanks, and a newline. Costs some 10 µs.

    A stream's name may hold what UTF-8 can't (half of a surrogate pair, from the name of a file);
    such a row is written with JSON's ``\\u`` escapes, so that nothing is lost or replaced. Numbers
    are finite (a score that isn't is rejected before): orjson would write others as null.
    """
    row = result_row(outcome, written_at)
    try:
        return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:
        return (json.dumps(row, separators=(",", ":"), allow_nan=False) + "\n").encode()


def result_row(outcome: Outcome, written_at: float | None = None) -> dict[str, object]:
    """An outcome as the object that goes over the wire; all its values are JSON's.

    ``written_at`` is now, in Unix seconds: a score that waited for its sink beyond the deadline is
    not fresh any more. None judges by the moment of the score.
    """
    frame = outcome.frame
    if isinstance(outcome, Scored):
        row = _opening(frame, "scored", outcome.scored_at)
        row["fresh"] = not frame.is_stale(max(outcome.scored_at, written_at or 0.0))
        return row | _score(outcome) | _closing(frame, None, None)
    unscored: dict[str, object] = {
        "fresh": False,
        "model": None,
        "image": None,
        "predictions": [],
        "top": None,
        "confidence": None,
        "timings_ms": None,
    }
    if isinstance(outcome, Rejected):
        row = _opening(frame, "rejected", outcome.decided_at)
        return row | unscored | _closing(frame, outcome.reason, outcome.detail)
    return (
        _opening(frame, "shed", outcome.decided_at)
        | unscored
        | _closing(frame, outcome.reason, None)
    )


def _opening(frame: Frame, outcome: str, decided_at: float) -> dict[str, object]:
    captured_at, decided_at = _plausible(frame.captured_at), _plausible(decided_at)
    return {
        "schema": RESULT_SCHEMA,
        "outcome": outcome,
        "stream": frame.stream,
        "frame_id": frame.frame_id,
        "captured_at": rfc3339(captured_at),
        "scored_at": rfc3339(decided_at),
        # A camera's clock that is ahead of ours makes no negative ages.
        "age_ms": round(1000 * max(0.0, decided_at - captured_at), 3),
    }


def _score(scored: Scored) -> dict[str, object]:
    model, top = scored.model, scored.top
    return {
        "model": {
            "name": model.name,
            "version": model.version,
            "sha256": model.sha256,
            "epoch": model.epoch,
        },
        "image": {"width": scored.width, "height": scored.height},
        "predictions": [
            {
                "class": each.label,
                "class_id": each.class_id,
                "confidence": round(each.confidence, 6),
            }
            for each in scored.predictions[:_MOST_PREDICTIONS]
        ],
        "top": top.label,
        "confidence": round(top.confidence, 6),
        "timings_ms": _milliseconds(scored.timings),
    }


def _milliseconds(timings: Timings) -> dict[str, float]:
    return {
        "queue": round(1000 * timings.queue_s, 3),
        "decode": round(1000 * timings.decode_s, 3),
        "batch": round(1000 * timings.batch_s, 3),
        "infer": round(1000 * timings.infer_s, 3),
    }


def _closing(frame: Frame, reason: str | None, detail: str | None) -> dict[str, object]:
    return {
        "source": source_row(frame),
        "trace_id": frame.trace_id,
        "reason": reason,
        "detail": detail,
    }


def source_row(frame: Frame) -> dict[str, object]:
    """Where a frame stands in its source; with the file's name where it is one of a folder."""
    at = frame.position
    row: dict[str, object] = {
        "topic": at.topic,
        "partition": at.partition,
        "offset": at.offset,
    }
    return row if frame.file is None else {**row, "file": frame.file}


def rfc3339(unix_s: float) -> str:
    """A moment as ``2026-01-31T23:59:59.123456Z``; ``unix_s`` is within the years 1970 to 9999."""
    second, microsecond = divmod(round(unix_s * 1_000_000), 1_000_000)
    return f"{_whole_second(second)}.{microsecond:06d}Z"


@lru_cache(maxsize=64)
def _whole_second(unix_s: int) -> str:
    """Thousands of frames share one."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat()[:-6]


def _plausible(unix_s: float) -> float:
    """A moment that can be written: a capture's time comes from outside. NaN becomes 0."""
    return min(_LAST_MOMENT, max(0.0, unix_s))
