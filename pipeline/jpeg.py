"""JPEGs by simplejpeg: libjpeg-turbo without what OpenCV does around it, for the plain ones."""

from __future__ import annotations

import numpy as np
import simplejpeg

from pipeline.image_header import ImageHeader
from pipeline.opencv import MAX_IMAGE_PIXELS
from pipeline.types import ImageHwc

_UNAMBIGUOUS = 16
"""Pixels. libjpeg-turbo takes a scale by the size that it gives, and on a few pixels several scales
(1/4, 3/8) give the same."""


def decode_plain_jpeg(data: bytes, header: ImageHeader, reduction: int) -> ImageHwc | None:
    """Decodes a JPEG to ``[H, W, 3]`` uint8 RGB, its sides divided by ``reduction`` (1, 2, 4 or 8)
    and rounded up: the same pixels as OpenCV's, in less time. Releases the GIL while it decodes.

    None for what isn't plain or isn't perfect: what a damaged one is taken for is OpenCV's to say.
    """
    if not header.is_plain or max(header.width, header.height) < _UNAMBIGUOUS:
        return None
    if header.width * header.height > MAX_IMAGE_PIXELS:  # OpenCV's own limit holds for it too
        return None
    height, width = -(-header.height // reduction), -(-header.width // reduction)
    image_hwc = np.empty((height, width, 3), np.uint8)
    try:
        # Of the scales that leave this height and width it takes the smallest, which is this one.
        # Strictly: at the least oddity it gives up, before it decodes where that is in the header.
        image_hwc = simplejpeg.decode_jpeg(
            data,
            "RGB",
            min_height=height,
            min_width=width,
            min_factor=reduction,
            buffer=image_hwc,
            strict=True,
        )
    except ValueError:
        return None
    return image_hwc if image_hwc.shape == (height, width, 3) else None
