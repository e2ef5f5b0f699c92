from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from pipeline.digits import LABELS, Night, Scene, Split, load_digits
from pipeline.image_header import read_header
from pipeline.opencv import cv2
from pipeline.preprocess import PreprocessSpec, load_sample


def test_the_digits_are_real_and_all_there() -> None:
    parts = [load_digits(split) for split in ("train", "heldout")]
    images = np.concatenate([images for images, _ in parts])
    labels = np.concatenate([labels for _, labels in parts])
    assert images.shape == (1797, 8, 8)
    assert images.dtype == labels.dtype == np.uint8
    assert (images.min(), images.max()) == (0, 16)
    # What the data set's own description says of the classes of its test part.
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_no_digit_is_in_both_splits_at_once() -> None:
    train, heldout = (load_digits(split)[0] for split in ("train", "heldout"))
    trained_on = {image.tobytes() for image in train}
    assert not [image for image in heldout if image.tobytes() in trained_on]


def test_a_frame_is_a_function_of_its_number_alone() -> None:
    forwards, backwards = Scene(1, seed=7), Scene(1, seed=7)
    numbers = [0, 44, 45, 1000]
    seen = {k: forwards.jpeg(k) for k in numbers}
    for k in reversed(numbers):
        assert backwards.jpeg(k) == seen[k]
        assert backwards.label(k) == forwards.label(k)


def test_a_frame_is_the_same_in_another_process() -> None:
    code = (
        "import hashlib; from pipeline.digits import Scene;"
        "print(hashlib.sha256(Scene(2, seed=3).image_bgr(99).tobytes()).hexdigest())"
    )
    twice = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert twice[0].stdout == twice[1].stdout


def test_streams_seeds_and_splits_show_different_things() -> None:
    scenes = [Scene(0), Scene(1), Scene(0, seed=1), Scene(0, split="train")]
    assert len({scene.jpeg(0) for scene in scenes}) == len(scenes)


def test_a_digit_stays_for_its_time_and_moves_meanwhile() -> None:
    scene = Scene(0, hold_frames=10)
    for first in range(0, 100, 10):
        assert len({scene.label(first + k) for k in range(10)}) == 1
        assert len({scene.jpeg(first + k) for k in range(10)}) == 10
    assert {scene.label(k) for k in range(0, 2000, 10)} == set(LABELS)


def test_a_frame_is_a_jpeg_of_the_size_that_was_asked_for() -> None:
    scene = Scene(0, width=320, height=200)
    assert scene.image_bgr(0).shape == (200, 320, 3)
    assert scene.image_bgr(0).dtype == np.uint8
    header = read_header(scene.jpeg(0))
    assert (header.kind, header.width, header.height) == ("jpeg", 320, 200)


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_the_picture_shows_the_digit_that_the_label_says(split: Split) -> None:
    """Stretched to 24x24, a scene has most in common with digits of its own label: by nearest
    neighbours on contrast alone, of pictures that no network has seen."""
    spec = PreprocessSpec(width=24, height=24)

    def shapes(scene: Scene, numbers: range) -> tuple[np.ndarray, np.ndarray]:
        rows = np.stack([load_sample(scene.jpeg(k), spec).mean(axis=2) for k in numbers])
        rows = rows.reshape(len(rows), -1)
        rows -= np.median(rows, axis=1, keepdims=True)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows, np.array([int(scene.label(k)) for k in numbers])

    known, known_labels = shapes(Scene(0, seed=1, split="train", hold_frames=1), range(1500))
    asked, asked_labels = shapes(Scene(0, seed=2, split=split, hold_frames=1), range(200))
    nearest = np.abs(asked @ known.T).argmax(axis=1)  # ink may be darker or brighter than paper
    assert (known_labels[nearest] == asked_labels).mean() > 0.6


def test_night_falls_over_dusk_and_the_frames_before_it_are_as_ever() -> None:
    night = Night(begins=40, dusk_frames=20)
    assert [night.darkness(k) for k in (0, 40, 50, 60, 999)] == [0, 0, 0.5, 1, 1]
    by_day, scene = Scene(3), Scene(3)
    scene.night = night
    assert (scene.image_bgr(40) == by_day.image_bgr(40)).all()
    brightness = [float(scene.image_bgr(k).mean()) for k in (40, 44)]
    assert brightness[0] > brightness[1]  # of the same shot


def test_at_night_the_same_digits_are_darker_of_less_contrast_and_never_gone() -> None:
    for number in range(4):
        day, night = Scene(number), Scene(number)
        night.night = Night(begins=0, dusk_frames=1)
        assert day.label(30) == night.label(30)
        light_hwc, dark_hwc = (each.image_bgr(30).astype(float) for each in (day, night))
        assert dark_hwc.mean() < 0.6 * light_hwc.mean()
        assert 0.2 * light_hwc.std() < dark_hwc.std() < 0.6 * light_hwc.std()
        small = [
            cv2.resize(each, (24, 24), interpolation=cv2.INTER_AREA)
            for each in (light_hwc, dark_hwc)
        ]
        assert np.corrcoef(*(each.ravel() for each in small))[0, 1] > 0.9
