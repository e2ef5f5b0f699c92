"""Encoded pictures of every kind that a camera or a careless person may send."""

from __future__ import annotations

import struct
import threading

import numpy as np

from pipeline.opencv import cv2
from pipeline.types import ImageHwc


def corners(width: int = 64, height: int = 48) -> ImageHwc:
    """BGR: red top left, green top right, blue bottom left, white bottom right."""
    image_hwc = np.zeros((height, width, 3), np.uint8)
    h, w = height // 2, width // 2
    image_hwc[:h, :w] = (0, 0, 255)
    image_hwc[:h, w:] = (0, 255, 0)
    image_hwc[h:, :w] = (255, 0, 0)
    image_hwc[h:, w:] = (255, 255, 255)
    return image_hwc


def encode(image_hwc: np.ndarray, suffix: str = ".jpg", *options: int) -> bytes:
    """Encodes with OpenCV."""
    done, encoded = cv2.imencode(suffix, image_hwc, list(options))
    assert done
    return encoded.tobytes()


def with_exif_orientation(jpeg: bytes, orientation: int) -> bytes:
    """Puts an APP1 segment with this orientation behind SOI."""
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = b"II*\x00" + struct.pack("<I", 8) + struct.pack("<H", 1) + entry + struct.pack("<I", 0)
    body = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def with_size(jpeg: bytes, width: int, height: int) -> bytes:
    """Patches the dimensions in a JPEG's frame header: a decompression bomb."""
    at = next(at for at in range(len(jpeg)) if jpeg[at] == 0xFF and jpeg[at + 1] in (0xC0, 0xC2))
    return jpeg[: at + 5] + struct.pack(">HH", height, width) + jpeg[at + 9 :]


GREY = encode(np.full((48, 64, 3), 90, np.uint8))
WHITE = encode(np.full((48, 64, 3), 255, np.uint8))


class Hanging(np.ndarray):
    """A picture on which decoding hangs, as often as told, until it is let go."""

    letting_go: threading.Event
    times: int
    begun: int

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        if self.begun < self.times:
            self.begun += 1
            self.letting_go.wait(30)
        return np.asarray(self).shape


def hanging(letting_go: threading.Event, times: int) -> ImageHwc:
    """A white picture."""
    picture = np.full((48, 64, 3), 255, np.uint8).view(Hanging)
    picture.letting_go, picture.times, picture.begun = letting_go, times, 0
    return picture
