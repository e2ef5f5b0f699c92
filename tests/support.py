"""What tests share: waiting for a condition, and small real pictures."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np

from pipeline.opencv import cv2
from pipeline.types import ImageHwc


def wait_until(predicate: Callable[[], object], deadline_s: float = 20.0) -> None:
    """Waits until ``predicate`` is true, looking every 10 ms.

    Raises:
        AssertionError: it didn't become true within ``deadline_s``.
    """
    pause = threading.Event()
    end = time.monotonic() + deadline_s
    while not predicate():
        if time.monotonic() > end:
            raise AssertionError(f"not true within {deadline_s} s: {predicate}")
        pause.wait(0.01)


def noise_jpeg(width: int = 64, height: int = 48, seed: int = 0) -> bytes:
    """A real JPEG of smooth noise."""
    done, encoded = cv2.imencode(".jpg", smooth_noise(width, height, seed))
    assert done
    return encoded.tobytes()


def smooth_noise(width: int, height: int, seed: int = 0) -> ImageHwc:
    """A picture of 8x6 spots of any colours that run into each other."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)  # pyright: ignore[reportReturnType]
