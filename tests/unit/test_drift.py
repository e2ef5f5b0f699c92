"""Drift of real digits that get darker, softer, noisier or others."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from pipeline.digits import Scene
from pipeline.drift import Drift, drift
from pipeline.opencv import cv2
from pipeline.preprocess import PreprocessSpec, load_sample
from pipeline.statistics import InputTally
from pipeline.types import ImageHwc

SPEC = PreprocessSpec(width=48, height=48)
MUCH = 0.25
"""What is customarily taken for much."""


def noisy(image_hwc: ImageHwc) -> ImageHwc:
    noise = np.random.default_rng(int(image_hwc.sum())).normal(0, 40, image_hwc.shape)
    return (image_hwc + noise).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def reference() -> InputTally:
    return tally(shown(0, 30))


def shown(first: int, last: int) -> list[ImageHwc]:
    scenes = [Scene(number, seed=0, split="heldout") for number in range(8)]
    return [load_sample(scene.jpeg(46 * k), SPEC) for k in range(first, last) for scene in scenes]


def tally(samples: list[ImageHwc]) -> InputTally:
    counted = InputTally()
    counted.add(np.stack(samples))
    return counted


def found(before: InputTally, now: InputTally, what: str) -> Drift:
    measured = drift(getattr(before, what).counts, getattr(now, what).counts)
    assert measured is not None
    return measured


@pytest.mark.parametrize("what", ["brightness", "contrast", "sharpness"])
def test_other_digits_of_the_same_cameras_have_not_drifted(reference: InputTally, what: str):
    assert found(reference, tally(shown(30, 60)), what).excess < MUCH / 2


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda image: cv2.convertScaleAbs(image, alpha=0.4), "brightness"),
        (lambda image: cv2.convertScaleAbs(image, alpha=0.4), "contrast"),
        (lambda image: cv2.GaussianBlur(image, (0, 0), 3), "sharpness"),
        (noisy, "sharpness"),
    ],
    ids=["dark", "flat", "blurred", "noisy"],
)
def test_what_happens_to_cameras_is_a_drift(
    reference: InputTally, change: Callable[[ImageHwc], ImageHwc], what: str
):
    now = tally([change(image) for image in shown(30, 60)])
    assert found(reference, now, what).excess > 2 * MUCH


def test_the_index_is_what_its_formula_says():
    measured = drift([50, 50, 0], [80, 20, 0])
    assert measured is not None
    was, now = [50.5 / 101, 50.5 / 101], [80.5 / 101, 20.5 / 101]
    expected = sum((b - a) * math.log(b / a) for a, b in zip(was, now, strict=True))
    assert measured.psi == pytest.approx(expected)
    assert measured.by_chance == pytest.approx(2 / 100)
    assert measured.reference_shares == (0.5, 0.5, 0.0)
    assert measured.live_shares == (0.8, 0.2, 0.0)


def test_too_few_samples_of_either_side_say_nothing():
    assert drift([99], [1000]) is None
    assert drift([1000], [99]) is None
    assert drift([0, 0], [0, 0], least_samples=0) is None
    assert drift([5, 5], [9, 1], least_samples=10) is not None


def test_bins_that_are_not_as_many_are_refused():
    with pytest.raises(ValueError, match="1 live bins, expected the reference's 2"):
        drift([200, 200], [400])
