from __future__ import annotations

import torch

from pipeline.digits import Scene
from pipeline.preprocess import PreprocessSpec, load_sample
from trainer.data import DigitsData, heldout_loader

SPEC = PreprocessSpec(width=24, height=24)


def test_a_sample_is_what_the_worker_would_see():
    data = DigitsData(SPEC, "train", 20)
    sample_hwc, class_id = data[0]
    scene = Scene(1000, split="train")
    assert (sample_hwc.numpy() == load_sample(scene.jpeg(0), SPEC)).all()
    assert data.labels[class_id] == scene.label(0)
    assert sample_hwc.dtype == torch.uint8
    assert sample_hwc.shape == (24, 24, 3)


def test_growing_keeps_the_samples_that_are_there():
    grown = DigitsData(SPEC, "train", 10)
    grown.grow(37)
    whole = DigitsData(SPEC, "train", 37)
    assert len(grown) == 37
    assert grown.digest == whole.digest
    assert DigitsData(SPEC, "heldout", 37).digest != whole.digest
    assert DigitsData(SPEC, "train", 37, seed=1).digest != whole.digest


def test_all_held_out_samples_come_in_their_order():
    data = DigitsData(SPEC, "heldout", 17)
    batches = [classes for _, classes in heldout_loader(data, 8)]
    assert [len(classes) for classes in batches] == [8, 8, 1]
    assert torch.cat(batches).tolist() == data.targets()
