"""Pictures of 16 bits and grey ones, through the window that the model declares."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.errors import FrameRejected
from pipeline.opencv import cv2
from pipeline.preprocess import PreprocessSpec, load_sample, write_bgr_sample
from pipeline.window import to_bytes
from tests.pictures import corners, encode


def spec(**fields: Any) -> PreprocessSpec:
    return PreprocessSpec.model_validate({"width": 24, "height": 24, **fields})


def flat(value: int, dtype: type = np.uint16) -> bytes:
    return encode(np.full((48, 64), value, dtype), ".png")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, 0), (1000, 0), (1001, 0), (2000, 128), (2998, 255), (3000, 255), (65535, 255)],
)
def test_a_window_is_spread_over_the_bytes(value: int, expected: int) -> None:
    sample_hwc = load_sample(flat(value), spec(window=(1000, 3000)))
    assert sample_hwc.shape == (24, 24, 3)
    assert np.unique(sample_hwc).tolist() == [expected]


def test_what_the_upper_eight_bits_would_lose_is_seen_through_a_window() -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint16), (256, 1))  # all of it below 256 of 65535
    whole, window = spec(), spec(window=(0, 256))
    assert load_sample(encode(ramp, ".png"), whole).max() <= 1
    seen_hwc = load_sample(encode(ramp, ".png"), window)
    assert (np.diff(seen_hwc[0, :, 0].astype(int)) > 0).all()


@given(
    window=st.tuples(st.integers(0, 65534), st.integers(1, 65535)).filter(lambda w: w[0] < w[1]),
    values=st.lists(st.integers(0, 65535), min_size=2, max_size=16),
)
def test_no_window_turns_brighter_into_darker(window: tuple[int, int], values: list[int]) -> None:
    if window[1] <= 255:
        values = [value % 256 for value in values]
    pixels = np.array([sorted(values)], np.uint16)
    seen_hwc = to_bytes(pixels, window, grayscale=False)
    assert (np.diff(seen_hwc[0, :, 0].astype(int)) >= 0).all()
    for value, seen in zip(sorted(values), seen_hwc[0, :, 0].tolist(), strict=True):
        share = (value - window[0]) / (window[1] - window[0])
        assert abs(seen - 255 * min(1.0, max(0.0, share))) <= 0.5


def test_coloured_pictures_of_sixteen_bits_keep_their_colours() -> None:
    deep = corners(320, 240).astype(np.uint16) * 16
    sample_hwc = load_sample(encode(deep, ".png"), spec(window=(0, 4080)))
    assert sample_hwc[2, 2].tolist() == [255, 0, 0]  # red at the top left


def test_a_picture_of_eight_bits_is_rejected_where_the_window_is_of_sixteen() -> None:
    for data in (flat(7, np.uint8), encode(corners(), ".jpg"), encode(corners(), ".webp")):
        with pytest.raises(FrameRejected, match="8 bits a channel") as caught:
            load_sample(data, spec(window=(0, 4095)))
        assert caught.value.reason == "unsupported_type"
    row_hwc = np.empty((24, 24, 3), np.uint8)
    with pytest.raises(FrameRejected, match="8 bits a channel"):
        write_bgr_sample(corners(), spec(window=(0, 4095)), row_hwc)


def test_a_window_of_bytes_takes_pictures_of_eight_bits() -> None:
    for suffix in (".png", ".jpg"):
        data = encode(np.full((48, 64), 150, np.uint8), suffix)
        assert np.unique(load_sample(data, spec(window=(100, 200)))).tolist() in ([127], [128])


@pytest.mark.parametrize("resize", ["letterbox", "center_crop", "stretch"])
@pytest.mark.parametrize("grayscale", [False, True])
def test_windows_are_seen_through_in_every_way_to_resize(resize: str, grayscale: bool) -> None:
    deep = np.full((40, 80), 3000, np.uint16)
    sample_hwc = load_sample(
        encode(deep, ".png"), spec(resize=resize, window=(0, 3000), grayscale=grayscale)
    )
    middle = sample_hwc[6:18]
    assert np.unique(middle).tolist() == [255]
    expected = 114 if resize == "letterbox" else 255
    assert np.unique(sample_hwc[0]).tolist() == [expected]


@pytest.mark.parametrize("resize", ["letterbox", "center_crop", "stretch"])
def test_grey_is_the_luma_in_three_equal_channels(resize: str) -> None:
    expected = {(0, 0, 255): 76, (0, 255, 0): 150, (255, 0, 0): 29}  # BT.601, of BGR
    for colour_bgr, luma in expected.items():
        image_hwc = np.full((48, 48, 3), colour_bgr, np.uint8)
        row_hwc = np.empty((24, 24, 3), np.uint8)
        write_bgr_sample(image_hwc, spec(grayscale=True, resize=resize), row_hwc)
        assert np.unique(row_hwc).tolist() == [luma]
        decoded_hwc = load_sample(encode(image_hwc, ".png"), spec(grayscale=True, resize=resize))
        assert (decoded_hwc == row_hwc).all()


def test_a_frame_of_a_camera_is_windowed_as_its_picture_is() -> None:
    image_hwc = cv2.cvtColor(np.tile(np.arange(64, dtype=np.uint8), (64, 1)), cv2.COLOR_GRAY2BGR)
    image_hwc[:, :, 0] = 60
    row_hwc = np.empty((24, 24, 3), np.uint8)
    through = spec(window=(10, 50))
    write_bgr_sample(image_hwc, through, row_hwc)
    assert (row_hwc == load_sample(encode(image_hwc, ".png"), through)).all()


def test_a_picture_of_sixteen_bits_with_transparency_is_decoded() -> None:
    deep = np.dstack([corners().astype(np.uint16) * 257, np.zeros((48, 64), np.uint16)])
    sample_hwc = load_sample(encode(deep, ".png"), spec(window=(0, 65535)))
    assert sample_hwc[2, 2].tolist() == [255, 0, 0]


@pytest.mark.parametrize("window", [(5, 5), (6, 5), (-1, 5), (0, 65536)])
def test_a_window_that_is_none_is_refused(window: tuple[int, int]) -> None:
    with pytest.raises(ValidationError, match="0 <= BLACK < WHITE <= 65535"):
        spec(window=window)


def test_specs_without_a_window_keep_their_digest_and_their_json() -> None:
    usual = {"width", "height", "resize", "interpolation", "decode"}
    assert set(json.loads(spec().model_dump_json())) == usual
    # Of the version before there were windows: what it published must be taken.
    assert spec().digest == "cfb4c855a86c9d17acb1adc9cbb57bf540571dae7260e595983820652415d77f"
    assert len({spec().digest, spec(window=(0, 9)).digest, spec(grayscale=True).digest}) == 3


def test_a_spec_with_a_window_comes_back_from_its_json() -> None:
    there = spec(window=(0, 4095), grayscale=True)
    back = PreprocessSpec.model_validate_json(there.model_dump_json())
    assert (back, back.digest) == (there, there.digest)
