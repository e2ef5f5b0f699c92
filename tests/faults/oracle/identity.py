"""Frames that carry their identity in their pixels, whatever their headers or a row say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.opencv import cv2
from pipeline.types import ImageHwc

SIDE = 6
"""Blocks in a row and in a column of a picture: a bit each."""
BLOCK_PX = 16
CHUNKS = 3
CHUNK_BITS = 12
CHUNK = 1 << CHUNK_BITS
_BITS = SIDE * SIDE
_DARK, _BRIGHT, _NOISE = 48, 208, 24
_STREAMS, _NUMBERS, _NONCES = 1 << 6, 1 << 18, 1 << 12

LATE = _NUMBERS // 2
"""Frames of this number and above are late ones, which a network may be bad on."""
LATE_BLOCK = (1, 0)
"""The row and column of the block that is bright in the pictures of late ones."""


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """Frame ``number`` of ``stream``; ``nonce`` tells one run's frames from another's."""

    stream: int
    number: int
    nonce: int

    def __post_init__(self) -> None:
        if not (
            0 <= self.stream < _STREAMS
            and 0 <= self.number < _NUMBERS
            and 0 <= self.nonce < _NONCES
        ):
            raise ValueError(f"{self} doesn't fit into {_BITS} bits")

    @property
    def chunks(self) -> tuple[int, ...]:
        """The identity as numbers below ``CHUNK``, the highest bits first."""
        packed = (self.stream << 30) | (self.number << CHUNK_BITS) | self.nonce
        return tuple((packed >> shift) & (CHUNK - 1) for shift in (24, 12, 0))

    @classmethod
    def of_chunks(cls, chunks: tuple[int, ...]) -> Identity:
        """The other way round."""
        high, middle, low = chunks
        packed = (high << 24) | (middle << 12) | low
        return cls(packed >> 30, (packed >> CHUNK_BITS) & (_NUMBERS - 1), packed & (_NONCES - 1))


def picture_pixels(identity: Identity, side_px: int = SIDE * BLOCK_PX) -> ImageHwc:
    """BGR, ``side_px`` square: 6x6 grey blocks with noise, dark for 0 and bright for 1."""
    grid = bits_of(identity).reshape(SIDE, SIDE)
    levels = np.where(grid, _BRIGHT, _DARK).astype(np.int16)
    image_hw = cv2.resize(levels, (side_px, side_px), interpolation=cv2.INTER_NEAREST)
    rng = np.random.default_rng(identity.chunks)
    noisy_hwc = image_hw[:, :, None] + rng.integers(-_NOISE, _NOISE, (side_px, side_px, 3))
    return noisy_hwc.clip(0, 255).astype(np.uint8)


def picture(identity: Identity, side_px: int = SIDE * BLOCK_PX) -> bytes:
    """The same as a JPEG."""
    done, encoded = cv2.imencode(".jpg", picture_pixels(identity, side_px))
    assert done
    return encoded.tobytes()


def bits_of(identity: Identity) -> np.ndarray:
    """The blocks of a picture, row by row, as booleans."""
    bits = [
        bool((chunk >> (CHUNK_BITS - 1 - place)) & 1)
        for chunk in identity.chunks
        for place in range(CHUNK_BITS)
    ]
    return np.array(bits)


def read_picture(image_hwc: ImageHwc) -> Identity:
    """The identity that stands in decoded pixels of any size that is a multiple of ``SIDE``."""
    block = image_hwc.shape[0] // SIDE
    means = image_hwc.reshape(SIDE, block, SIDE, block, 3).mean(axis=(1, 3, 4))
    bits = (means > 127.5).reshape(CHUNKS, CHUNK_BITS)
    weights = 1 << np.arange(CHUNK_BITS)[::-1]
    return Identity.of_chunks(tuple(int(chunk) for chunk in bits @ weights))
