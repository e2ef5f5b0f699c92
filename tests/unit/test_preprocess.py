from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.errors import FrameRejected
from pipeline.image_header import ImageHeader
from pipeline.opencv import cv2
from pipeline.preprocess import (
    ImageLimits,
    PreprocessSpec,
    check_image,
    dct_reduction,
    load_sample,
    resized_size,
    write_bgr_sample,
    write_sample,
)
from tests.pictures import corners, encode, with_exif_orientation, with_size
from tests.support import noise_jpeg, smooth_noise

SPEC = PreprocessSpec(width=24, height=24)
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def quarters(sample_hwc: np.ndarray) -> list[tuple[int, ...]]:
    """The pixels in the middle of each quarter: top left, top right, bottom left, bottom right."""
    h, w = sample_hwc.shape[:2]
    return [tuple(sample_hwc[y, x].tolist()) for y in (h // 4, -h // 4) for x in (w // 4, -w // 4)]


def near(got: list[tuple[int, ...]], expected: list[tuple[int, ...]], within: int = 12) -> bool:
    return bool(np.abs(np.array(got) - np.array(expected)).max() <= within)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_every_format_becomes_rgb(suffix: str) -> None:
    sample_hwc = load_sample(encode(corners(320, 240), suffix), SPEC)
    assert sample_hwc.shape == (24, 24, 3)
    assert sample_hwc.dtype == np.uint8
    assert near(quarters(sample_hwc), [RED, GREEN, BLUE, WHITE])


def test_grey_pictures_become_three_equal_channels() -> None:
    grey = np.full((48, 64), 77, np.uint8)
    for suffix in (".jpg", ".png"):
        sample_hwc = load_sample(encode(grey, suffix), SPEC)
        assert np.unique(sample_hwc).tolist() == [77]
    row_hwc = np.empty((24, 24, 3), np.uint8)
    write_bgr_sample(grey, SPEC, row_hwc)
    assert np.unique(row_hwc).tolist() == [77]


def test_the_pixels_of_a_camera_become_rgb() -> None:
    row_hwc = np.empty((24, 24, 3), np.uint8)
    write_bgr_sample(corners(320, 240), SPEC, row_hwc)
    assert near(quarters(row_hwc), [RED, GREEN, BLUE, WHITE])
    assert (row_hwc == load_sample(encode(corners(320, 240), ".png"), SPEC)).all()


def test_sixteen_bits_keep_their_upper_eight() -> None:
    deep = np.full((48, 64, 3), 0xAB12, np.uint16)
    assert np.abs(load_sample(encode(deep, ".png"), SPEC).astype(int) - 0xAB).max() <= 1


def test_transparency_is_dropped() -> None:
    bgra = np.dstack([corners(), np.zeros((48, 64), np.uint8)])
    assert near(quarters(load_sample(encode(bgra, ".png"), SPEC)), [RED, GREEN, BLUE, WHITE])


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, [RED, GREEN, BLUE, WHITE]),
        (3, [WHITE, BLUE, GREEN, RED]),
        (6, [BLUE, RED, WHITE, GREEN]),
        (8, [GREEN, WHITE, RED, BLUE]),
    ],
)
@pytest.mark.parametrize("decode", ["auto", "full"])
def test_pictures_are_turned_as_exif_says(
    orientation: int, expected: list[tuple[int, ...]], decode: str
) -> None:
    spec = PreprocessSpec.model_validate({"width": 24, "height": 24, "decode": decode})
    data = with_exif_orientation(encode(corners(640, 480)), orientation)
    assert near(quarters(load_sample(data, spec)), expected)


@pytest.mark.parametrize(
    ("size", "target", "expected"),
    [
        ((640, 360), (24, 24), 4),
        ((640, 384), (24, 24), 8),
        ((1280, 720), (224, 224), 1),
        ((1920, 1080), (224, 224), 2),
        ((3840, 2160), (224, 224), 4),
        ((48, 48), (24, 24), 1),
        ((96, 96), (24, 24), 2),
        ((95, 95), (24, 24), 2),
        ((94, 94), (24, 24), 1),
    ],
)
def test_jpegs_are_decoded_no_larger_than_needed(
    size: tuple[int, int], target: tuple[int, int], expected: int
) -> None:
    spec = PreprocessSpec(width=target[0], height=target[1])
    assert dct_reduction(ImageHeader("jpeg", *size), spec) == expected
    assert dct_reduction(ImageHeader("png", *size), spec) == 1
    full = spec.model_copy(update={"decode": "full"})
    assert dct_reduction(ImageHeader("jpeg", *size), full) == 1


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from(["letterbox", "center_crop"]))
def test_a_kept_aspect_ratio_fits_or_fills_the_sample(width: int, height: int, resize: str) -> None:
    spec = PreprocessSpec.model_validate({"width": 32, "height": 20, "resize": resize})
    resized = resized_size(width, height, spec)
    if resize == "letterbox":
        assert 1 <= resized[0] <= 32
        assert 1 <= resized[1] <= 20
        assert 32 in resized or 20 in resized
    else:
        assert resized[0] >= 32
        assert resized[1] >= 20
        assert resized[0] == 32 or resized[1] == 20


def test_letterbox_keeps_the_whole_picture_and_pads_with_grey() -> None:
    spec = PreprocessSpec(width=24, height=24, resize="letterbox")
    sample_hwc = load_sample(encode(corners(240, 120), ".png"), spec)
    assert sample_hwc[0, 0].tolist() == [114, 114, 114]
    assert sample_hwc[-1, -1].tolist() == [114, 114, 114]
    assert near(quarters(sample_hwc[6:18]), [RED, GREEN, BLUE, WHITE])


def test_center_crop_fills_the_sample_and_cuts_the_sides() -> None:
    spec = PreprocessSpec(width=24, height=24, resize="center_crop")
    image_hwc = corners(480, 120)
    image_hwc[:, :120] = image_hwc[:, -120:] = 0
    assert near(quarters(load_sample(encode(image_hwc, ".png"), spec)), [RED, GREEN, BLUE, WHITE])


@pytest.mark.parametrize("resize", ["stretch", "letterbox", "center_crop"])
@pytest.mark.parametrize("size", [(24, 24), (7, 50), (50, 7), (1, 1), (640, 360)])
def test_a_sample_is_written_in_place_whatever_the_picture(
    resize: str, size: tuple[int, int]
) -> None:
    spec = PreprocessSpec.model_validate({"width": 24, "height": 20, "resize": resize})
    batch_nhwc = np.full((3, 20, 24, 3), 9, np.uint8)
    write_sample(np.full((size[1], size[0], 3), 200, np.uint8), spec, batch_nhwc[1])
    assert (batch_nhwc[0] == 9).all()
    assert (batch_nhwc[2] == 9).all()
    assert (batch_nhwc[1] == 200).any()
    assert not (batch_nhwc[1] == 9).any()


def test_the_reduced_decode_is_close_to_the_full_one() -> None:
    data = noise_jpeg(640, 360)
    auto = load_sample(data, SPEC).astype(int)
    full = load_sample(data, SPEC.model_copy(update={"decode": "full"})).astype(int)
    assert np.abs(auto - full).max() <= 6


def test_a_pyramid_is_close_to_averaging_over_areas_at_once() -> None:
    image_hwc = smooth_noise(640, 360)
    for resize in ("stretch", "letterbox", "center_crop"):
        for width, height in ((24, 24), (100, 30), (224, 224), (320, 180), (700, 400)):
            spec = PreprocessSpec.model_validate(
                {"width": width, "height": height, "resize": resize}
            )
            pyramid_hwc, area_hwc = np.empty((2, height, width, 3), np.uint8)
            write_sample(image_hwc, spec, pyramid_hwc)
            write_sample(image_hwc, spec.model_copy(update={"interpolation": "area"}), area_hwc)
            differences = np.abs(pyramid_hwc.astype(int) - area_hwc)
            assert differences.mean() < 1, (resize, width, height)
            assert differences.max() <= 8, (resize, width, height)


@pytest.mark.parametrize(
    ("size", "level"),
    [
        ((640, 360), (80, 45)),  # 45 is odd
        ((72, 72), (36, 36)),
        ((70, 70), (70, 70)),  # half of it would be less than one and a half times 24
        ((96, 71), (96, 71)),
        ((4096, 72), (2048, 36)),
        ((20, 10), (20, 10)),
    ],
)
def test_a_pyramid_has_whole_pixels_and_leaves_one_and_a_half_times_the_size(
    size: tuple[int, int], level: tuple[int, int]
) -> None:
    image_hwc = smooth_noise(*size)
    width, height = size
    while (width, height) != level:
        width, height = width // 2, height // 2
        image_hwc = image_hwc.reshape(height, 2, width, 2, 3).mean(axis=(1, 3)) + 0.5
        image_hwc = image_hwc.astype(np.uint8)
    pyramid_hwc, area_hwc = np.empty((2, 24, 24, 3), np.uint8)
    write_sample(smooth_noise(*size), SPEC, pyramid_hwc)
    write_sample(image_hwc, SPEC.model_copy(update={"interpolation": "area"}), area_hwc)
    assert np.abs(pyramid_hwc.astype(int) - area_hwc).max() <= 1


def test_the_digest_changes_with_each_field_and_nothing_else() -> None:
    others = [
        {"width": 25},
        {"resize": "letterbox"},
        {"interpolation": "cubic"},
        {"decode": "full"},
    ]
    digests = {SPEC.digest, *(SPEC.model_copy(update=other).digest for other in others)}
    assert len(digests) == 5
    assert PreprocessSpec(width=24, height=24).digest == SPEC.digest


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(ValidationError):
        PreprocessSpec.model_validate({"width": 24, "height": 24, "colour": "bgr"})


@pytest.mark.parametrize("claimed", [(8000, 8400), (30000, 30000), (65500, 65500)])
def test_a_bomb_is_rejected_by_its_header(claimed: tuple[int, int]) -> None:
    with pytest.raises(FrameRejected) as rejection:
        load_sample(with_size(encode(corners()), *claimed), SPEC)
    assert rejection.value.reason == "too_many_pixels"


def test_limits_are_what_the_caller_says() -> None:
    data = encode(corners(64, 48))
    with pytest.raises(FrameRejected, match="too_many_bytes"):
        check_image(data, ImageLimits(max_bytes=len(data) - 1))
    with pytest.raises(FrameRejected, match="too_many_pixels"):
        check_image(data, ImageLimits(max_pixels=64 * 48 - 1))
    assert check_image(data, ImageLimits(len(data), 64 * 48)).width == 64


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_a_picture_cut_in_two_is_rejected(suffix: str) -> None:
    data = encode(cv2.resize(corners(), (300, 300)), suffix)
    with pytest.raises(FrameRejected, match="corrupt"):
        load_sample(data[: len(data) // 3], SPEC)


def test_a_png_that_is_cut_off_says_so_once_and_not_on_standard_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    data = encode(corners(), ".png")
    for end in (len(data) // 3, len(data) - 13, len(data) - 9):
        with pytest.raises(FrameRejected, match="corrupt"):
            load_sample(data[:end], SPEC)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("twentieth", range(1, 20))
@pytest.mark.parametrize("decode", ["auto", "full"])
def test_a_jpeg_that_is_cut_off_is_rejected(twentieth: int, decode: str) -> None:
    data = noise_jpeg(320, 240)
    spec = PreprocessSpec.model_validate({"width": 24, "height": 24, "decode": decode})
    with pytest.raises(FrameRejected, match="corrupt"):
        load_sample(data[: len(data) * twentieth // 20], spec)
