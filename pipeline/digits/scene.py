"""A stream of camera-like pictures of handwritten digits whose truth is known."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.digits.data import LABELS, Split, load_digits
from pipeline.opencv import cv2
from pipeline.types import ImageHwc

_GLYPH_SIDE = 64
_TEXTURE_SCALE = 2
"""The background is this many times as wide and high as a frame, so that it can drift."""
_NOISE_MARGIN = 32
_NOISE_SPREAD = 5.0

_NIGHT_LOSS = 0.6
"""Share of the light that is gone at night, and of the contrast with it."""
_NIGHT_GAIN = 1.0
"""A sensor's amplifier makes its noise stronger by so many times."""
_NIGHT_BLUR = 4.0
"""Standard deviation in pixels of a frame 320 wide: long exposures smear."""


@dataclass(frozen=True, slots=True)
class _Shot:
    """One digit and how it moves and changes while it is shown. Positions and sizes are fractions
    of the frame, angles are radians, colours are BGR from 0 to 255."""

    label: int
    glyph: NDArray[np.float32]
    start_xy: tuple[float, float]
    end_xy: tuple[float, float]
    size_wh: tuple[float, float]
    growth: float
    angle: float
    turn: float
    slant: float
    ink_bgr: NDArray[np.float64]
    ink_drift_bgr: NDArray[np.float64]
    paper_table: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Night:
    """It gets dark from frame ``begins`` on, over ``dusk_frames``, and stays so."""

    begins: int
    dusk_frames: int = 150

    def darkness(self, k: int) -> float:
        """At frame ``k``: 0 by day, 1 at night."""
        return min(1.0, max(0.0, (k - self.begins) / self.dusk_frames))


class Scene:
    """One stream: a digit moves over a drifting background for ``hold_frames``, then another.

    A pure function of the arguments and the frame's number: frame ``k`` is the same at each call
    and in each process. The digit is stretched with the frame, so it is upright and whole when a
    worker stretches the frame to a square.
    ``night`` may be set before the first frame. Owned by: one thread (it keeps the current shot).
    """

    def __init__(
        self,
        stream_index: int,
        seed: int = 0,
        width: int = 640,
        height: int = 360,
        split: Split = "heldout",
        hold_frames: int = 45,
    ) -> None:
        self.night: Night | None = None
        self.width = width
        self.height = height
        self.hold_frames = hold_frames
        self._key = (seed, stream_index, 0 if split == "heldout" else 1)
        self._images, self._labels = load_digits(split)
        # Drawn at half the size and enlarged: four times cheaper, and a digit of 8x8 has no detail.
        self._small_wh = (max(1, width // 2), max(1, height // 2))
        rng = np.random.default_rng([*self._key, 0])
        self._texture = _smooth_texture(rng, self._small_wh)
        self._phase = float(rng.uniform(0.0, math.tau))
        noise = rng.normal(2 * _NOISE_SPREAD, _NOISE_SPREAD, self._noise_shape_hwc())
        self._noise = noise.clip(0, 4 * _NOISE_SPREAD).astype(np.uint8)
        self._shot_index = -1
        self._shot: _Shot | None = None

    def label(self, k: int) -> str:
        """The digit that frame ``k`` shows, one of ``LABELS``."""
        return LABELS[self._shot_of(k).label]

    def image_bgr(self, k: int) -> ImageHwc:
        """Frame ``k`` as ``[height, width, 3]`` uint8 BGR, a new array."""
        shot = self._shot_of(k)
        progress = (k % self.hold_frames) / self.hold_frames
        paper = cv2.LUT(self._drifted(k), shot.paper_table)
        ink_bgr = (shot.ink_bgr + progress * shot.ink_drift_bgr).clip(0, 255)
        # A filled rectangle: ten times as fast as numpy's broadcast of three channels.
        ink = cv2.rectangle(np.empty_like(paper), (0, 0), self._small_wh, ink_bgr.tolist(), -1)
        cover = cv2.warpAffine(shot.glyph, self._placed(shot, progress), self._small_wh)
        small = cv2.blendLinear(ink, paper, cover, np.float32(1.0) - cover)
        darkness = 0.0 if self.night is None else self.night.darkness(k)
        if darkness:
            small = cv2.GaussianBlur(
                small, (0, 0), _NIGHT_BLUR * darkness * self._small_wh[0] / 320
            )
        image_hwc = cv2.resize(small, (self.width, self.height), interpolation=cv2.INTER_LINEAR)
        top, left = (k * 7) % _NOISE_MARGIN, (k * 13) % _NOISE_MARGIN
        grain = self._noise[top : top + self.height, left : left + self.width]
        if not darkness:
            return cv2.add(image_hwc, grain, dst=image_hwc)  # pyright: ignore[reportReturnType]
        light, gain = 1 - _NIGHT_LOSS * darkness, 1 + _NIGHT_GAIN * darkness
        # What the gain adds to the grain's mean is taken away again: night is dark, not foggy.
        lift = -_NIGHT_GAIN * darkness * 2 * _NOISE_SPREAD
        return cv2.addWeighted(image_hwc, light, grain, gain, lift, dst=image_hwc)  # pyright: ignore[reportReturnType]

    def jpeg(self, k: int, quality: int = 85) -> bytes:
        """Frame ``k`` encoded as a camera would, ``quality`` from 1 to 100."""
        done, encoded = cv2.imencode(".jpg", self.image_bgr(k), [cv2.IMWRITE_JPEG_QUALITY, quality])
        if not done:
            raise ValueError(f"OpenCV can't encode a JPEG of {self.width}x{self.height}")
        return encoded.tobytes()

    def _noise_shape_hwc(self) -> tuple[int, int, int]:
        return (self.height + _NOISE_MARGIN, self.width + _NOISE_MARGIN, 3)

    def _shot_of(self, k: int) -> _Shot:
        index = k // self.hold_frames
        if self._shot is None or index != self._shot_index:
            self._shot = self._new_shot(np.random.default_rng([*self._key, 1, index]))
            self._shot_index = index
        return self._shot

    def _new_shot(self, rng: np.random.Generator) -> _Shot:
        chosen = int(rng.integers(len(self._labels)))
        size_wh = (float(rng.uniform(0.92, 1.12)), float(rng.uniform(0.84, 0.98)))
        paper_bgr = rng.uniform(60, 195, 3)
        sign = 1.0 if paper_bgr.mean() < 127 else -1.0
        if (
            rng.random() < 0.25 and 85 < paper_bgr.mean() < 170
        ):  # so that the brighter one isn't always the ink on dark paper
            sign = -sign
        ink_bgr = paper_bgr + sign * rng.uniform(65, 120) + rng.uniform(-15, 15, 3)
        return _Shot(
            label=int(self._labels[chosen]),
            glyph=_glyph(self._images[chosen]),
            start_xy=_centre(rng, size_wh),
            end_xy=_centre(rng, size_wh),
            size_wh=size_wh,
            growth=float(rng.uniform(-0.08, 0.08)),
            angle=float(rng.uniform(-0.1, 0.1)),
            turn=float(rng.uniform(-0.1, 0.1)),
            slant=float(rng.uniform(-0.1, 0.1)),
            ink_bgr=ink_bgr,
            ink_drift_bgr=rng.uniform(-12, 12, 3),
            paper_table=_paper_table(paper_bgr, rng.uniform(8, 20, 3)),
        )

    def _drifted(self, k: int) -> ImageHwc:
        """The part of the texture behind frame ``k``: the window wanders on a closed curve."""
        width, height = self._small_wh
        x = 0.5 + 0.5 * math.sin(self._phase + k * 0.011)
        y = 0.5 + 0.5 * math.sin(2 * self._phase + k * 0.017)
        left = int(x * (self._texture.shape[1] - width))
        top = int(y * (self._texture.shape[0] - height))
        return self._texture[top : top + height, left : left + width]

    def _placed(self, shot: _Shot, progress: float) -> NDArray[np.float64]:
        """The affine map from the glyph's pixels to those of the small frame."""
        growth = 1.0 + shot.growth * progress
        angle = shot.angle + shot.turn * progress
        turn = np.array(
            [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
        ) @ np.array([[1.0, shot.slant], [0.0, 1.0]])
        centre = np.array(shot.start_xy) * (1 - progress) + np.array(shot.end_xy) * progress
        frame_wh = np.array(self._small_wh, np.float64)
        linear = np.diag(frame_wh) @ turn @ np.diag(np.array(shot.size_wh) * growth / _GLYPH_SIDE)
        shift = centre * frame_wh - linear @ np.full(2, _GLYPH_SIDE / 2)
        return np.column_stack([linear, shift])


def _glyph(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """An 8x8 digit enlarged with firm edges: how much ink covers each pixel, 0 to 1."""
    ink = image.astype(np.float32) / 16.0
    padded = cv2.copyMakeBorder(ink, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    large = cv2.resize(padded, (_GLYPH_SIDE, _GLYPH_SIDE), interpolation=cv2.INTER_CUBIC)
    return ((large - 0.3) / 0.5).clip(0.0, 1.0).astype(np.float32)


def _centre(rng: np.random.Generator, size_wh: tuple[float, float]) -> tuple[float, float]:
    """A point around which a digit of that size stays within the frame, but for a tenth of it."""
    x, y = (max(0.0, (1.0 - side) / 2 + 0.04) for side in size_wh)
    return 0.5 + float(rng.uniform(-x, x)), 0.5 + float(rng.uniform(-y, y))


def _paper_table(paper_bgr: NDArray[np.float64], depth: NDArray[np.float64]) -> NDArray[np.uint8]:
    """A look-up table ``[1, 256, 3]`` that gives the grey texture the colours of one shot."""
    level = np.linspace(-1.0, 1.0, 256)[:, None]
    colours = paper_bgr - 2 * _NOISE_SPREAD + level * depth
    return colours.clip(0, 255).astype(np.uint8)[None]


def _smooth_texture(rng: np.random.Generator, small_wh: tuple[int, int]) -> ImageHwc:
    """Clouds, ``[H, W, 3]`` uint8, larger than a frame."""
    width, height = (_TEXTURE_SCALE * side for side in small_wh)
    coarse = rng.integers(0, 256, (10, 14, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)  # pyright: ignore[reportReturnType]
