"""A frame's picture as a browser can show it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.errors import FrameRejected
from pipeline.opencv import cv2
from pipeline.preprocess import PreprocessSpec, check_image, decode_image
from pipeline.types import ImageHwc
from pipeline.window import to_bytes

MAX_WIDTH = 480
"""Twice the width of a picture on the page, for screens with two pixels to a point."""

_AS_IT_IS_BYTES = 256 * 1024
"""Larger encoded frames are made smaller: a page with ten 4K cameras would be 60 MB a second."""

_SMALL = PreprocessSpec(width=MAX_WIDTH, height=4096, resize="letterbox")
_JPEG_QUALITY = 80


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded image and its MIME type."""

    content_type: str
    data: bytes


def make_picture(payload: bytes | ImageHwc) -> Picture | None:
    """Encodes a frame's payload, ``[H, W, C]`` uint8 BGR or already encoded, for the page.

    Encoded payloads are given as they are unless they are large. Blocks for as long as OpenCV
    works, without the GIL. None where there is nothing that can be shown.
    """
    if not isinstance(payload, bytes):
        return _encode(payload)
    try:
        header = check_image(payload)
        if len(payload) <= _AS_IT_IS_BYTES:
            return Picture(f"image/{header.kind}", payload)
        image_hwc = to_bytes(decode_image(payload, header, _SMALL), None, grayscale=False)
        cv2.cvtColor(image_hwc, cv2.COLOR_RGB2BGR, dst=image_hwc)
        return _encode(image_hwc)
    except FrameRejected:
        return None


def _encode(image_hwc: ImageHwc) -> Picture | None:
    height, width = image_hwc.shape[:2]
    if width > MAX_WIDTH:
        size = (MAX_WIDTH, max(1, round(height * MAX_WIDTH / width)))
        small = cv2.resize(image_hwc, size, interpolation=cv2.INTER_AREA)
    else:
        small = np.ascontiguousarray(image_hwc)
    done, encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return Picture("image/jpeg", encoded.tobytes()) if done else None
