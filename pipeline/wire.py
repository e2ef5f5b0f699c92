"""A result on the wire: one flat JSON object for each frame, after `schema/result.schema.json`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache, partial

import msgspec
from msgspec import UNSET, Struct, UnsetType

from pipeline.types import Frame, ModelIdentity, Outcome, Rejected, Scored, Timings, Values

RESULT_SCHEMA = "headrace.result/1"

_LAST_MOMENT = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
"""RFC 3339 has four digits for a year; a producer's clock may say anything."""

_MOST_PREDICTIONS = 5


class ImageRow(Struct, frozen=True, gc=False):
    """The original picture's size in pixels."""

    width: int
    height: int


class ClassRow(Struct, frozen=True, gc=False, kw_only=True):
    """One class and the model's confidence in it, 0 to 1."""

    label: str = msgspec.field(name="class")
    class_id: int
    confidence: float


class TimingsRow(Struct, frozen=True, gc=False):
    """Where a frame's time went, in milliseconds."""

    queue: float
    decode: float
    batch: float
    infer: float


class SourceRow(Struct, frozen=True, gc=False):
    """Where a frame stands in its source; with the file's name where it is one of a folder."""

    topic: str
    partition: int
    offset: int
    file: str | UnsetType = UNSET


class ResultRow(Struct, frozen=True, gc=False, kw_only=True):
    """An outcome as it goes over the wire, its fields in the schema's order. ``values`` is a
    regression's alone."""

    schema: str = RESULT_SCHEMA
    outcome: str
    stream: str
    frame_id: str
    captured_at: str
    scored_at: str
    age_ms: float
    fresh: bool = False
    model: ModelIdentity | None = None
    image: ImageRow | None = None
    predictions: tuple[ClassRow, ...] = ()
    top: str | None = None
    confidence: float | None = None
    values: Values | UnsetType = UNSET
    timings_ms: TimingsRow | None = None
    source: SourceRow
    trace_id: str | None
    reason: str | None = None
    detail: str | None = None


_encode = msgspec.json.Encoder().encode


def encode_row(outcome: Outcome, written_at: float | None = None) -> bytes:
    """The row of an outcome: UTF-8 JSON without blanks, and a newline. Costs some 10 µs.

    A stream's name may hold what UTF-8 can't (half of a surrogate pair, from the name of a file);
    such a row is written with JSON's ``\\u`` escapes, so that nothing is lost or replaced. Numbers
    are finite (a score that isn't is rejected before): msgspec would write others as null. Values
    are Python's own ``str``, ``int`` and ``float``: it refuses NumPy's.
    """
    row = result_row(outcome, written_at)
    try:
        return _encode(row) + b"\n"
    except UnicodeEncodeError:
        plain = msgspec.to_builtins(row)
        return (json.dumps(plain, separators=(",", ":"), allow_nan=False) + "\n").encode()


def result_row(outcome: Outcome, written_at: float | None = None) -> ResultRow:
    """An outcome as the object that goes over the wire.

    ``written_at`` is now, in Unix seconds: a score that waited for its sink beyond the deadline is
    not fresh any more. None judges by the moment of the score.
    """
    if isinstance(outcome, Scored):
        return _scored(outcome, written_at)
    row = _row_of(outcome.frame, outcome.decided_at)
    if isinstance(outcome, Rejected):
        return row(outcome="rejected", reason=outcome.reason, detail=outcome.detail)
    return row(outcome="shed", reason=outcome.reason)


def _scored(scored: Scored, written_at: float | None) -> ResultRow:
    frame, top = scored.frame, scored.top
    return _row_of(frame, scored.scored_at)(
        outcome="scored",
        fresh=not frame.is_stale(max(scored.scored_at, written_at or 0.0)),
        model=scored.model,
        image=ImageRow(scored.width, scored.height),
        predictions=tuple(
            ClassRow(label=each.label, class_id=each.class_id, confidence=round(each.confidence, 6))
            for each in scored.predictions[:_MOST_PREDICTIONS]
        ),
        top=None if top is None else top.label,
        confidence=None if top is None else round(top.confidence, 6),
        values=UNSET if scored.values is None else scored.values,
        timings_ms=_milliseconds(scored.timings),
    )


def _row_of(frame: Frame, decided_at: float) -> partial[ResultRow]:
    """A row that lacks the outcome: what is said of each frame alike."""
    captured_at, decided_at = _plausible(frame.captured_at), _plausible(decided_at)
    return partial(
        ResultRow,
        stream=frame.stream,
        frame_id=frame.frame_id,
        captured_at=rfc3339(captured_at),
        scored_at=rfc3339(decided_at),
        # A camera's clock that is ahead of ours makes no negative ages.
        age_ms=round(1000 * max(0.0, decided_at - captured_at), 3),
        source=source_row(frame),
        trace_id=frame.trace_id,
    )


def _milliseconds(timings: Timings) -> TimingsRow:
    return TimingsRow(
        queue=round(1000 * timings.queue_s, 3),
        decode=round(1000 * timings.decode_s, 3),
        batch=round(1000 * timings.batch_s, 3),
        infer=round(1000 * timings.infer_s, 3),
    )


def source_row(frame: Frame) -> SourceRow:
    """Where a frame stands in its source."""
    at = frame.position
    return SourceRow(at.topic, at.partition, at.offset, UNSET if frame.file is None else frame.file)


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
