"""From an encoded picture to a sample: one specification and one function for trainer and worker.

What changes pixels is in ``PreprocessSpec`` and nowhere else; its digest is in every artifact's
manifest, so a network is never fed pictures prepared in another way than those it was trained on.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from pipeline.errors import FrameRejected
from pipeline.image_header import ImageHeader, read_header
from pipeline.jpeg import decode_plain_jpeg
from pipeline.opencv import MAX_IMAGE_PIXELS, cv2
from pipeline.types import ImageHwc
from pipeline.window import Pixels, Window, to_bytes

_INTERPOLATION = {
    "pyramid": cv2.INTER_AREA,
    "area": cv2.INTER_AREA,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "nearest": cv2.INTER_NEAREST,
    "lanczos": cv2.INTER_LANCZOS4,
}
_REDUCED_READ = {
    1: cv2.IMREAD_COLOR_RGB,
    2: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
"""The reductions' flags for colour are those for grey and the bit for BGR, which excludes RGB."""
_AS_IT_IS = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR
_LETTERBOX_GREY = 114
"""Mid-grey of the padding, the value that YOLO's authors made customary."""

_MOST_VALUE = (1 << 16) - 1


class PreprocessSpec(BaseModel):
    """How a picture becomes a sample of ``[height, width, 3]`` uint8 RGB.

    ``resize``: ``stretch`` ignores the aspect ratio; ``letterbox`` keeps the whole picture and pads
    with grey; ``center_crop`` keeps the aspect ratio, fills the sample and cuts what sticks out.
    ``decode``: ``auto`` decodes a JPEG at the largest DCT reduction (1/2, 1/4, 1/8) that still
    leaves twice the size that is resized to; ``full`` always decodes all of it.
    ``interpolation``: ``pyramid`` takes means of 2x2 pixels as long as both sides are even and that
    leaves 1.5 times the size, and goes the rest of the way by ``area``; the others are OpenCV's.
    ``grayscale``: colours become their luma, in three equal channels. ``window``: (black, white) in
    values of the picture; 16 bits are read whole for it, and without it their upper 8.

    What is as usual of the last two is left out of the digest and of manifests, which are as they
    were before there was such a thing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(ge=1, le=4096, description="samples' width in pixels")
    height: int = Field(ge=1, le=4096, description="samples' height in pixels")
    resize: Literal["stretch", "letterbox", "center_crop"] = "stretch"
    interpolation: Literal["pyramid", "area", "linear", "cubic", "nearest", "lanczos"] = "pyramid"
    decode: Literal["auto", "full"] = "auto"
    grayscale: bool = Field(default=False, exclude_if=lambda grayscale: not grayscale)
    window: Window | None = Field(default=None, exclude_if=lambda window: window is None)

    @field_validator("window")
    @classmethod
    def _window_is_open(cls, window: Window | None) -> Window | None:
        if window is not None and not 0 <= window[0] < window[1] <= _MOST_VALUE:
            raise ValueError(f"expected BLACK,WHITE with 0 <= BLACK < WHITE <= {_MOST_VALUE}")
        return window

    @property
    def digest(self) -> str:
        """sha256 over the canonical JSON of all fields."""
        canonical = json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def is_plain(self) -> bool:
        """Whether pixels are only resized: neither ``grayscale`` nor a window."""
        return self.window is None and not self.grayscale

    @property
    def sample_shape_hwc(self) -> tuple[int, int, int]:
        """``(height, width, 3)``."""
        return (self.height, self.width, 3)


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What is refused before a decoder sees it."""

    max_bytes: int = 32 * 1024 * 1024
    max_pixels: int = MAX_IMAGE_PIXELS


DEFAULT_LIMITS = ImageLimits()


def resized_size(width: int, height: int, spec: PreprocessSpec) -> tuple[int, int]:
    """The (width, height) that a whole picture is resized to, before padding or cropping."""
    if spec.resize == "stretch":
        return spec.width, spec.height
    pick = min if spec.resize == "letterbox" else max
    scale = pick(spec.width / width, spec.height / height)
    scaled = max(1, round(width * scale)), max(1, round(height * scale))
    if spec.resize == "letterbox":
        return min(scaled[0], spec.width), min(scaled[1], spec.height)
    return max(scaled[0], spec.width), max(scaled[1], spec.height)


def dct_reduction(header: ImageHeader, spec: PreprocessSpec) -> int:
    """1, 2, 4 or 8: how much smaller a JPEG may be decoded under ``spec``."""
    if header.kind != "jpeg" or spec.decode == "full":
        return 1
    width, height = resized_size(header.width, header.height, spec)
    for factor in (8, 4, 2):
        # libjpeg rounds a reduced side up.
        if -(-header.width // factor) >= 2 * width and -(-header.height // factor) >= 2 * height:
            return factor
    return 1


def check_image(data: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> ImageHeader:
    """Gives an encoded image's header if it may be decoded.

    Raises:
        FrameRejected: it is empty, of another type, broken, or larger than the limits.
    """
    if len(data) > limits.max_bytes:
        raise FrameRejected(
            "too_many_bytes", f"{len(data)} bytes, expected at most {limits.max_bytes}"
        )
    header = read_header(data)
    if header.width * header.height > limits.max_pixels:
        raise FrameRejected(
            "too_many_pixels",
            f"{header.width}x{header.height} pixels, expected at most {limits.max_pixels} in all",
        )
    return header


def check_digest(data: bytes, sha256: str) -> None:
    """Compares an image with the digest that its sender promised. A JPEG with a flipped bit mostly
    decodes, to another picture, without an error: only this shows it. Releases the GIL.

    Raises:
        FrameRejected: ``corrupt``.
    """
    got = hashlib.sha256(data).hexdigest()
    if got != sha256:
        raise FrameRejected("corrupt", f"its sha256 is {got}, the sender's was {sha256[:64]}")


def decode_image(data: bytes, header: ImageHeader, spec: PreprocessSpec) -> Pixels:
    """Decodes to ``[H, W, 3]`` uint8 RGB, no larger than ``spec`` needs, turned as EXIF says.

    Greyscale becomes three equal channels, 16-bit keeps its upper 8, alpha is dropped. For a window
    a PNG keeps its bits, and a grey one its single channel. Releases the GIL while it decodes.

    Raises:
        FrameRejected: ``corrupt``.
    """
    reduction = dct_reduction(header, spec)
    plain_hwc = decode_plain_jpeg(data, header, reduction)
    if plain_hwc is not None:
        return plain_hwc
    is_deep = spec.window is not None and header.kind == "png"
    how = _AS_IT_IS if is_deep else _REDUCED_READ[reduction]
    try:
        image_hwc = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    except cv2.error as cause:
        raise FrameRejected("corrupt", f"the {header.kind} can't be decoded: {cause}") from cause
    if image_hwc is None:
        raise FrameRejected("corrupt", f"the {header.kind} can't be decoded ({len(data)} bytes)")
    if is_deep and image_hwc.ndim == 3:
        image_hwc = cv2.cvtColor(image_hwc, cv2.COLOR_BGR2RGB)
    return image_hwc  # pyright: ignore[reportReturnType]  cv2's stubs say ndarray of any number


def write_sample(pixels: Pixels, spec: PreprocessSpec, row_hwc: ImageHwc) -> None:
    """Resizes a picture into ``row_hwc``, ``[height, width, 3]`` uint8, contiguous; channels keep
    their order. The row is written in place; besides, a third of the picture at most is allocated,
    and what it is resized to with ``center_crop``, ``grayscale`` or a window.

    Raises:
        FrameRejected: see ``to_bytes``.
    """
    width, height = resized_size(pixels.shape[1], pixels.shape[0], spec)
    how = _INTERPOLATION[spec.interpolation]
    if spec.interpolation == "pyramid":
        pixels = _halved(pixels, width, height)
    top, left = abs(spec.height - height) // 2, abs(spec.width - width) // 2
    inner_hwc = row_hwc
    if spec.resize == "letterbox":
        row_hwc[:] = _LETTERBOX_GREY
        inner_hwc = row_hwc[top : top + height, left : left + width]
    if spec.resize != "center_crop" and spec.is_plain:
        cv2.resize(pixels, (width, height), dst=inner_hwc, interpolation=how)
        return
    filled: Pixels = cv2.resize(pixels, (width, height), interpolation=how)  # pyright: ignore[reportAssignmentType]
    if spec.resize == "center_crop":
        filled = filled[top : top + spec.height, left : left + spec.width]
    if not spec.is_plain:
        filled = to_bytes(filled, spec.window, grayscale=spec.grayscale)
    inner_hwc[:] = filled


def _halved(pixels: Pixels, width: int, height: int) -> Pixels:
    """The smallest level of a picture's pyramid that is still 1.5 times as wide and as high.

    To exactly the half ``INTER_AREA`` is vectorised, and takes a tenth of what it takes for a pixel
    otherwise. Sides must be even, else a level wouldn't be of whole pixels.
    """
    rows, columns = pixels.shape[:2]
    while rows % 2 == 0 and columns % 2 == 0 and rows >= 3 * height and columns >= 3 * width:
        rows, columns = rows // 2, columns // 2
        pixels = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_AREA)  # pyright: ignore[reportAssignmentType]
    return pixels


def write_bgr_sample(image_hwc: ImageHwc, spec: PreprocessSpec, row_hwc: ImageHwc) -> None:
    """``write_sample`` of what a video or camera gives: BGR becomes RGB, and a grey ``[H, W]``
    three equal channels."""
    if image_hwc.ndim == 2:
        image_hwc = cv2.cvtColor(image_hwc, cv2.COLOR_GRAY2RGB)  # pyright: ignore[reportAssignmentType]
    if not spec.is_plain:  # luma is of RGB
        image_hwc = cv2.cvtColor(image_hwc, cv2.COLOR_BGR2RGB)  # pyright: ignore[reportAssignmentType]
    write_sample(image_hwc, spec, row_hwc)
    if spec.is_plain:
        cv2.cvtColor(row_hwc, cv2.COLOR_BGR2RGB, dst=row_hwc)


def load_sample(
    data: bytes, spec: PreprocessSpec, limits: ImageLimits = DEFAULT_LIMITS
) -> ImageHwc:
    """From encoded bytes to a new sample, ``[height, width, 3]`` uint8 RGB: what the worker sees.

    Raises:
        FrameRejected: see ``check_image`` and ``decode_image``.
    """
    row_hwc = np.empty(spec.sample_shape_hwc, np.uint8)
    write_sample(decode_image(data, check_image(data, limits), spec), spec, row_hwc)
    return row_hwc
