"""Samples to learn from, prepared by the very function that the worker uses.

Datasets give ``([H, W, 3] uint8 RGB tensor, target)``: any DataLoader can take them. Normalisation
is the network's business (``trainer.served``).
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pipeline.digits import LABELS, Scene, Split
from pipeline.preprocess import PreprocessSpec, load_sample
from pipeline.types import ImageHwc, Task

DIGITS_TRAIN = 4000
"""Rendered in about ten seconds; nearly three of each of the 1,437 digits to learn from."""

_TRAIN_PER_HELDOUT = 4
_LEAST_HELDOUT = 100
"""Below this an accuracy's standard error is over five points."""

Loader: TypeAlias = DataLoader[tuple[Tensor, int | Tensor]]
"""Its batches are ``([N, H, W, 3] uint8, [N] int64 or [N, K] float32)``: see ``Samples``."""

_FIRST_SCENE = 1000
"""The demo streams the held-out scenes from 0 on: a network isn't chosen by those it shows."""

_SCENES = 16
_FRAME_STRIDE = 46
"""One more than a scene shows one digit for: each sample is another digit, at another moment."""


class Samples(Dataset[tuple[Tensor, int | Tensor]]):
    """A Dataset of samples and targets; ``labels`` names the network's K outputs.

    A target is, after ``task``: a class (``single-label``), or ``[K]`` float32: 0 or 1 for each
    label (``multi-label``), or the values (``regression``).
    """

    labels: tuple[str, ...]
    task: Task = "single-label"

    @abstractmethod
    def __len__(self) -> int: ...

    def targets(self) -> Sequence[int | tuple[float, ...]]:
        """All samples' targets in their order, without decoding a picture where that can be."""
        targets = (self[index][1] for index in range(len(self)))
        return [each if isinstance(each, int) else tuple(each.tolist()) for each in targets]

    @property
    @abstractmethod
    def digest(self) -> str:
        """sha256 over what the samples are made of: a run is resumed on the same ones alone."""


class DigitsData(Samples):
    """Frames of synthetic digit cameras, rendered once and kept in memory as uint8 NHWC.

    The samples pass through a JPEG and ``load_sample``, as the worker's do. Owned by one thread.
    """

    def __init__(self, spec: PreprocessSpec, split: Split, count: int, seed: int = 0) -> None:
        self.labels = tuple(LABELS)
        self._spec = spec
        numbers = range(_FIRST_SCENE, _FIRST_SCENE + _SCENES)
        self._scenes = [Scene(number, seed=seed, split=split) for number in numbers]
        self._samples_nhwc = torch.empty((0, *spec.sample_shape_hwc), dtype=torch.uint8)
        self._classes: list[int] = []
        self.grow(count)

    def grow(self, count: int) -> None:
        """Renders on until there are ``count`` samples; those there already stay as they are."""
        start = len(self)
        if count <= start:
            return
        samples_nhwc = np.empty((count, *self._spec.sample_shape_hwc), np.uint8)
        samples_nhwc[:start] = self._samples_nhwc.numpy()
        classes = np.zeros(count, np.int64)
        classes[:start] = self._classes

        def render(scene_number: int) -> None:
            first = start + (scene_number - start) % _SCENES
            for number in range(first, count, _SCENES):
                samples_nhwc[number], classes[number] = self._render(number)

        # A scene belongs to one thread; OpenCV lets go of the GIL in all that is slow here.
        with ThreadPoolExecutor(2, thread_name_prefix="render") as pool:
            list(pool.map(render, range(_SCENES)))
        self._samples_nhwc, self._classes = torch.from_numpy(samples_nhwc), classes.tolist()

    def _render(self, number: int) -> tuple[ImageHwc, int]:
        scene = self._scenes[number % _SCENES]
        frame = number // _SCENES * _FRAME_STRIDE
        return load_sample(scene.jpeg(frame), self._spec), int(scene.label(frame))

    def __len__(self) -> int:
        return len(self._classes)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._samples_nhwc[index], self._classes[index]

    def targets(self) -> Sequence[int]:
        """See ``Samples.targets``."""
        return self._classes

    @property
    def digest(self) -> str:
        """See ``Samples.digest``."""
        digest = hashlib.sha256(self._samples_nhwc.numpy().tobytes())
        digest.update(bytes(self._classes))
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class SplitData:
    """Samples to learn from and samples to be judged by; none is in both."""

    train: Samples
    heldout: Samples
    spec: PreprocessSpec

    @property
    def labels(self) -> tuple[str, ...]:
        """The network's outputs' names."""
        return self.train.labels

    @property
    def task(self) -> Task:
        """What the targets are."""
        return self.train.task

    @property
    def digest(self) -> str:
        """sha256 over both parts."""
        return hashlib.sha256(f"{self.train.digest}{self.heldout.digest}".encode()).hexdigest()


def digits(spec: PreprocessSpec, train_samples: int = DIGITS_TRAIN, seed: int = 0) -> SplitData:
    """Renders synthetic digits, and a quarter as many, but at least 100, to be judged by."""
    heldout_samples = max(_LEAST_HELDOUT, train_samples // _TRAIN_PER_HELDOUT)
    train = DigitsData(spec, "train", train_samples, seed)
    return SplitData(train, DigitsData(spec, "heldout", heldout_samples, seed), spec)


def heldout_loader(
    samples: Samples, batch_size: int = 256, workers: int = 0, pinned: bool = False
) -> Loader:
    """All samples in their order. ``pinned`` memory is quicker to copy to a CUDA device."""
    return DataLoader(samples, batch_size=batch_size, num_workers=workers, pin_memory=pinned)
