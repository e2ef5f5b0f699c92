"""Rejected frames as rows: the reason, and the bytes to look at or to put through again."""

from __future__ import annotations

import base64
import json

import msgspec
import numpy as np

from pipeline.opencv import cv2
from pipeline.types import Frame, ImageHwc, Outcome, Rejected
from pipeline.wire import source_row

SCHEMA = "headrace.dead_letter/1"


def encode_dead_letter(outcome: Outcome) -> bytes:
    """One line of JSON: where the frame came from, why it was rejected, its bytes as base64.

    A picture that its source had decoded is kept as PNG, which loses nothing.
    """
    if not isinstance(outcome, Rejected):
        raise TypeError(f"only rejected frames are dead letters, got {type(outcome).__name__}")
    frame = outcome.frame
    row = {
        "schema": SCHEMA,
        "frame_id": frame.frame_id,
        "stream": frame.stream,
        "reason": outcome.reason,
        "detail": outcome.detail,
        "captured_at": frame.captured_at,
        "rejected_at": outcome.decided_at,
        "source": msgspec.to_builtins(source_row(frame)),
        "payload": base64.b64encode(original_bytes(frame)).decode("ascii"),
    }
    return json.dumps(row, separators=(",", ":")).encode() + b"\n"


def original_bytes(frame: Frame) -> bytes:
    """The frame's encoded image as it came, or as PNG where its source had decoded it."""
    return frame.payload if isinstance(frame.payload, bytes) else _as_png(frame.payload)


def _as_png(image_hwc: ImageHwc) -> bytes:
    done, encoded = cv2.imencode(".png", np.ascontiguousarray(image_hwc))
    if not done:
        raise ValueError(f"a picture of shape {image_hwc.shape} can't be kept as PNG")
    return encoded.tobytes()
