"""Through a window: which of a picture's values become black and which white.

Medical and thermal cameras give 12 to 16 bits, of which a few hundred values hold what there is to
see; their upper eight bits alone would be nearly black.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import FrameRejected
from pipeline.opencv import cv2
from pipeline.types import ImageHwc

Pixels: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]
"""``[H, W, 3]`` RGB, or ``[H, W]`` grey, with as many bits as the picture has."""

Window: TypeAlias = tuple[int, int]
"""(black, white): what is no greater than black becomes 0, what is no less than white 255."""

_BYTE = 255


@lru_cache(maxsize=8)
def _table(window: Window) -> NDArray[np.uint8]:
    """What each value of 16 bits becomes, ``[65536]``."""
    black, white = window
    values = (np.arange(1 << 16) - black) * (_BYTE / (white - black))
    return np.rint(values.clip(0, _BYTE)).astype(np.uint8)


def to_bytes(pixels: Pixels, window: Window | None, *, grayscale: bool) -> ImageHwc:
    """``[H, W, 3]`` uint8 RGB; three equal channels where it is grey or must be (BT.601's luma).

    Raises:
        FrameRejected: ``unsupported_type``: the window is of more bits than the picture has.
    """
    if window is not None and window[1] > _BYTE and pixels.dtype == np.uint8:
        raise FrameRejected(
            "unsupported_type",
            f"a picture with 8 bits a channel, and the model's window from {window[0]} to"
            f" {window[1]} is of pictures with 16",
        )
    if grayscale and pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)  # pyright: ignore[reportAssignmentType]
    if window is not None:
        pixels = _table(window)[pixels]
    if pixels.ndim == 2:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)  # pyright: ignore[reportAssignmentType]
    return pixels  # pyright: ignore[reportReturnType]  without a window they are of bytes
