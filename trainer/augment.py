"""Samples changed at random while they are learnt from, by torchvision's own transforms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

from pipeline.errors import ConfigError
from trainer.data import Samples

AUGMENTATIONS = ("crop", "rotate", "flip", "color", "blur", "noise")
"""In the order in which they are done, in whichever they are named."""

_LEAST_AREA = 0.5
_DEGREES = 15
_JITTER = 0.2
_NOISE = 0.03
"""Standard deviation, of a pixel from 0 to 1."""
_GREY = 114
"""Of the corners that a rotation leaves empty: as the padding of ``letterbox``."""
_BLUR_SHARE = 1 / 32
"""Greatest radius of the blur, of the shorter side."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One sample of one epoch. ``seed`` (32 bits) decides how it is changed, alone."""

    index: int
    seed: int


def parse_augmentations(text: str) -> tuple[str, ...]:
    """``flip,crop`` to names in the order in which they are done.

    Raises:
        ConfigError: one isn't known, or is named twice.
    """
    names = [name.strip() for name in text.split(",")]
    if len(set(names)) != len(names) or not set(names) <= set(AUGMENTATIONS):
        raise ConfigError(
            f"--augment is {text!r}, expected some of {', '.join(AUGMENTATIONS)}, each once, with"
            " commas between them"
        )
    return tuple(name for name in AUGMENTATIONS if name in names)


class AugmentedSamples(Dataset[tuple[Tensor, int | Tensor]]):
    """``samples``, each changed as its ``Draw`` says; grey ones stay grey. Safe in DataLoader
    workers.

    Torch's CPU generator is as it was after each: what a network draws doesn't depend on where the
    samples are prepared.
    """

    def __init__(self, samples: Samples, names: Sequence[str], height: int, width: int) -> None:
        from torchvision.transforms import v2  # half a second

        radius = max(1, round(min(height, width) * _BLUR_SHARE))
        blur = v2.GaussianBlur(2 * radius + 1, sigma=(0.1, max(0.5, radius / 2)))
        known = {
            "crop": v2.RandomResizedCrop((height, width), scale=(_LEAST_AREA, 1.0)),
            "rotate": v2.RandomRotation(
                [-_DEGREES, _DEGREES], v2.InterpolationMode.BILINEAR, fill=_GREY
            ),
            "flip": v2.RandomHorizontalFlip(),
            "color": v2.ColorJitter(_JITTER, _JITTER, _JITTER),
            "blur": v2.RandomApply([blur]),
            "noise": v2.GaussianNoise(sigma=_NOISE),
        }
        self._samples = samples
        self._change = v2.Compose([known[name] for name in names])

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, draw: Draw) -> tuple[Tensor, int | Tensor]:
        sample_hwc, target = self._samples[draw.index]
        sample_chw = sample_hwc.permute(2, 0, 1)
        if torch.equal(sample_chw, sample_chw[:1].expand_as(sample_chw)):
            sample_chw = sample_chw[:1]  # else noise would colour it
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed, which seeds CUDA's too.
            torch.default_generator.manual_seed(draw.seed)
            changed_chw = self._change(sample_chw)
        return changed_chw.expand(3, -1, -1).permute(1, 2, 0).contiguous(), target
