"""The digits themselves: 1,797 pictures of 8x8 pixels that people wrote (see LICENSE beside)."""

from __future__ import annotations

from importlib import resources
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Split: TypeAlias = Literal["train", "heldout"]

LABELS = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")

_HELD_OUT_EVERY = 5


def load_digits(split: Split) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Gives one part's pictures ``[N, 8, 8]`` uint8, 0 (paper) to 16 (ink), and labels ``[N]``.

    Every fifth digit is held out, always the same ones; the two parts share none.
    """
    with resources.files("pipeline.digits").joinpath("digits.npz").open("rb") as file:
        archive = np.load(file)
        images, labels = archive["images"], archive["labels"]
    is_held_out = np.arange(len(labels)) % _HELD_OUT_EVERY == 0
    chosen = is_held_out if split == "heldout" else ~is_held_out
    return images[chosen], labels[chosen]
