from __future__ import annotations

import torch

from pipeline.digits import Scene
from pipeline.preprocess import PreprocessSpec, load_sample
from trainer.data import DigitsData, SplitData, heldout_loader, training_loader

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


def test_the_seed_alone_decides_the_order_whatever_the_workers(few_digits: SplitData):
    def order(epoch_seed: int, workers: int) -> list[int]:
        loader = training_loader(few_digits.train, 64, epoch_seed, workers)
        return [class_id for _, classes in loader for class_id in classes.tolist()]

    assert order(1, workers=0) == order(1, workers=2)
    assert order(1, workers=0) != order(2, workers=0)


def test_a_last_batch_of_one_sample_is_left_out():
    data = DigitsData(SPEC, "train", 17)
    assert [len(classes) for _, classes in training_loader(data, 8, 0)] == [8, 8]
    assert [len(classes) for _, classes in training_loader(data, 32, 0)] == [17]
    assert [len(classes) for _, classes in heldout_loader(data, 8)] == [8, 8, 1]
