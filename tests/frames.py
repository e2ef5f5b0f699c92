"""Frames and outcomes for tests of single stages."""

from __future__ import annotations

from msgspec.structs import replace

from pipeline.types import Frame, ModelIdentity, Position, Prediction, Rejected, Scored, Timings

MODEL = ModelIdentity("tiny", 1, "a" * 64, 1)


def frame(
    offset: int = 0,
    stream: str = "cam",
    payload: bytes = b"x",
    *,
    generation: int = 0,
    max_age_s: float | None = None,
    captured_at: float = 1_700_000_000.0,
) -> Frame:
    """A frame of a topic named as its stream."""
    return Frame(
        position=Position(stream, 0, offset, generation),
        stream=stream,
        payload=payload,
        captured_at=captured_at,
        received_mono_s=1000.0,
        max_age_s=max_age_s,
    )


def scored(of: Frame) -> Scored:
    """A score for a frame."""
    return Scored(
        frame=of,
        model=MODEL,
        predictions=(Prediction("seven", 7, 0.9), Prediction("one", 1, 0.1)),
        scored_at=of.captured_at + 0.02,
        width=64,
        height=48,
        timings=Timings(0.001, 0.002, 0.003, 0.004),
    )


def scored_values(of: Frame) -> Scored:
    """A regression's score for a frame."""
    values = {"speed": 12.5, "angle": -0.25}
    return replace(scored(of), task="regression", predictions=(), values=values)


def rejected(of: Frame) -> Rejected:
    """A rejection of a frame."""
    return Rejected(of, "corrupt", "the jpeg can't be decoded", of.captured_at + 0.01)
