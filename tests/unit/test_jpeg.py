"""simplejpeg stands in for OpenCV where both see the same: these tests hold them side by side."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import FrameRejected
from pipeline.image_header import read_header
from pipeline.jpeg import decode_plain_jpeg
from pipeline.opencv import cv2
from pipeline.types import ImageHwc
from tests.pictures import corners, encode, with_exif_orientation, with_size
from tests.support import noise_jpeg

REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
SAMPLINGS = [
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
]


def as_opencv_sees_it(jpeg: bytes, reduction: int = 1) -> ImageHwc | None:
    """RGB."""
    image_hwc = cv2.imdecode(np.frombuffer(jpeg, np.uint8), REDUCED[reduction])
    return None if image_hwc is None else image_hwc[..., ::-1]


def plainly(jpeg: bytes, reduction: int = 1) -> ImageHwc | None:
    return decode_plain_jpeg(jpeg, read_header(jpeg), reduction)


def noisy(width: int, height: int, channels: int, seed: int) -> np.ndarray:
    """Smooth patches with edges, in as many channels."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (height // 5 + 1, width // 5 + 1, channels), np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)


@given(
    width=st.integers(1, 400),
    height=st.integers(1, 400),
    channels=st.sampled_from([1, 3]),
    quality=st.integers(1, 100),
    sampling=st.sampled_from(SAMPLINGS),
    progressive=st.booleans(),
    reduction=st.sampled_from([1, 2, 4, 8]),
    seed=st.integers(0, 99),
)
def test_every_pixel_is_the_one_that_opencv_gives(
    width: int,
    height: int,
    channels: int,
    quality: int,
    sampling: int,
    progressive: bool,
    reduction: int,
    seed: int,
) -> None:
    jpeg = encode(
        noisy(width, height, channels, seed),
        ".jpg",
        *(cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling),
        *(cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)),
    )
    got, expected = plainly(jpeg, reduction), as_opencv_sees_it(jpeg, reduction)
    if max(width, height) < 16:
        assert got is None
        return
    assert got is not None
    np.testing.assert_array_equal(got, expected)


NOISE = noise_jpeg(96, 64, seed=3)


@given(st.integers(2, len(NOISE) - 1), st.integers(0, 255), st.sampled_from([1, 2, 8]))
def test_a_damaged_one_is_left_to_opencv_or_seen_alike(at: int, value: int, reduction: int) -> None:
    damaged = NOISE[:at] + bytes([value]) + NOISE[at + 1 :]
    try:
        got = plainly(damaged, reduction)
    except FrameRejected:
        return  # by its header, before anything is decoded
    if got is not None:
        np.testing.assert_array_equal(got, as_opencv_sees_it(damaged, reduction))


@pytest.mark.parametrize("left", [0.5, 0.9, 0.999])
def test_a_cut_one_is_left_to_opencv(left: float) -> None:
    assert plainly(NOISE[: int(len(NOISE) * left)]) is None


def test_what_exif_may_turn_is_left_to_opencv() -> None:
    jpeg = encode(corners())
    assert plainly(jpeg) is not None
    assert plainly(with_exif_orientation(jpeg, 1)) is None
    behind = jpeg.index(b"\xff\xc0")
    segment = with_exif_orientation(b"\xff\xd8", 6)[2:]
    assert plainly(jpeg[:behind] + segment + jpeg[behind:]) is None
    behind = jpeg.index(b"\xff\xda")
    late = jpeg[:behind] + segment + jpeg[behind:]
    assert plainly(late) is None
    assert (read_header(late).width, read_header(late).height) == (48, 64)


def test_a_header_that_lies_costs_no_more_than_it_says() -> None:
    jpeg = with_size(encode(corners()), 4000, 4000)
    assert plainly(jpeg) is None


@pytest.mark.parametrize("components", [b"\x04", b"\x02"])
def test_other_colours_than_grey_and_rgb_are_left_to_opencv(components: bytes) -> None:
    jpeg = encode(corners())
    at = jpeg.index(b"\xff\xc0") + 9
    assert not read_header(jpeg[:at] + components + jpeg[at + 1 :]).is_plain


@pytest.mark.parametrize("oddity", [b"\0\0", b"\xff\x00", b"\xff\xfe\0\0", b"\0"])
def test_oddities_behind_the_frame_header_are_left_to_opencv(oddity: bytes) -> None:
    jpeg = encode(corners())
    scan = jpeg.index(b"\xff\xda")
    odd = jpeg[:scan] + oddity + jpeg[scan:]
    header = read_header(odd)
    assert (header.width, header.height, header.is_plain) == (64, 48, False)
    assert as_opencv_sees_it(odd) is not None
