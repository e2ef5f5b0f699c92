"""Native code that a picture with these last bytes ends, and the process with it."""

from __future__ import annotations

import os

import pipeline.decode
from pipeline.image_header import ImageHeader
from pipeline.preprocess import PreprocessSpec
from pipeline.types import ImageHwc
from tests.faults.planted import replace

POISON = b"poison"

_real = pipeline.decode.decode_image


def _decode_image(data: bytes, header: ImageHeader, spec: PreprocessSpec) -> ImageHwc:
    if data.endswith(POISON):
        os.abort()
    return _real(data, header, spec)


def plant() -> None:
    replace(pipeline.decode, "decode_image", _decode_image)
