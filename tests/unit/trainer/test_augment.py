from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pipeline.errors import ConfigError
from trainer.augment import AUGMENTATIONS, AugmentedSamples, Draw, parse_augmentations
from trainer.data import Samples, SplitData


def augmented(data: SplitData, *names: str) -> AugmentedSamples:
    return AugmentedSamples(data.train, names, data.spec.height, data.spec.width)


def test_names_come_in_the_order_in_which_they_are_done():
    assert parse_augmentations("noise, flip,crop") == ("crop", "flip", "noise")


@pytest.mark.parametrize("text", ["", "mirror", "flip,flip", "flip,,crop", "flip;crop"])
def test_what_is_no_augmentation_is_refused_with_what_is(text: str):
    with pytest.raises(ConfigError, match="expected some of crop, rotate, flip"):
        parse_augmentations(text)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_each_changes_samples_by_its_draw_alone(few_digits: SplitData, name: str):
    samples = augmented(few_digits, name)
    before = torch.get_rng_state()
    drawn = [samples[Draw(7, seed)] for seed in range(12)]
    assert torch.equal(torch.get_rng_state(), before)  # dropout goes on as if nothing were
    sample_hwc, target = few_digits.train[7]
    for seed, (changed_hwc, its_target) in enumerate(drawn):
        assert (changed_hwc.dtype, changed_hwc.shape) == (torch.uint8, sample_hwc.shape)
        assert changed_hwc.is_contiguous()
        assert its_target == target
        assert torch.equal(samples[Draw(7, seed)][0], changed_hwc)
    assert any(not torch.equal(changed, sample_hwc) for changed, _ in drawn)
    assert len({changed.numpy().tobytes() for changed, _ in drawn}) > 1
    assert torch.equal(few_digits.train[7][0], sample_hwc)  # what is kept in memory stays


class Grey(Samples):
    """The same samples as `--grayscale` gives them: luma in three equal channels."""

    def __init__(self, samples: Samples) -> None:
        self._samples, self.labels = samples, samples.labels

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int | Tensor]:
        sample_hwc, target = self._samples[index]
        return sample_hwc.float().mean(2, keepdim=True).to(torch.uint8).expand(-1, -1, 3), target

    @property
    def digest(self) -> str:
        return self._samples.digest


@pytest.mark.parametrize("names", [*((name,) for name in AUGMENTATIONS), AUGMENTATIONS])
def test_a_grey_sample_stays_grey_and_is_changed_all_the_same(
    few_digits: SplitData, names: tuple[str, ...]
):
    spec, grey = few_digits.spec, Grey(few_digits.train)
    samples = AugmentedSamples(grey, names, spec.height, spec.width)
    drawn = [samples[Draw(7, seed)][0] for seed in range(12)]
    for changed_hwc in drawn:
        assert (changed_hwc.dtype, changed_hwc.shape) == (torch.uint8, spec.sample_shape_hwc)
        assert changed_hwc.is_contiguous()
        assert torch.equal(changed_hwc, changed_hwc[..., :1].expand(-1, -1, 3))
    assert any(not torch.equal(changed_hwc, grey[7][0]) for changed_hwc in drawn)


def test_a_flip_is_the_mirror_image(few_digits: SplitData):
    sample_hwc, _ = few_digits.train[3]
    mirrored_hwc = sample_hwc.flip(1)
    samples = augmented(few_digits, "flip")
    drawn = [samples[Draw(3, seed)][0] for seed in range(40)]
    flipped = sum(torch.equal(each, mirrored_hwc) for each in drawn)
    assert flipped + sum(torch.equal(each, sample_hwc) for each in drawn) == 40
    assert 8 < flipped < 32


def test_a_class_stays_recognisable(few_digits: SplitData):
    """No augmentation may turn the picture into another: it stays the nearest to its own."""
    samples = augmented(few_digits, "color", "noise")
    own = few_digits.train[5][0].float()
    other = few_digits.train[6][0].float()
    for seed in range(10):
        changed = samples[Draw(5, seed)][0].float()
        assert (changed - own).abs().mean() < (changed - other).abs().mean()
