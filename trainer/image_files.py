"""Pictures from files, whatever names them: what can't be decoded is left out, and named."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.errors import ConfigError, FrameRejected, HeadraceError
from pipeline.preprocess import PreprocessSpec, load_sample
from pipeline.types import ImageHwc, Task
from trainer.data import Samples

_HELDOUT_SHARE = 0.2
CACHE_BYTES = 2 * 1024**3
"""Up to this size samples are kept in memory; of a larger set each is decoded when asked for."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One picture and its target: a class, or K numbers, as ``Samples`` says.

    ``key`` is its path below the data's folder, with slashes.
    """

    path: Path
    key: str
    target: int | tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SkippedImage:
    """A file that isn't learnt from, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class _Read:
    """A file as it was read. ``sample_hwc`` is None where there is no room for all."""

    size_bytes: int
    sample_hwc: ImageHwc | None


class ImageFilesData(Samples):
    """Pictures from files; those that can't be decoded are left out and named in ``skipped``.

    Every file is decoded once at the start; ``files`` are the usable ones. Safe in DataLoader
    workers: reads only.
    """

    def __init__(
        self,
        files: Iterable[ImageFile],
        labels: tuple[str, ...],
        spec: PreprocessSpec,
        task: Task = "single-label",
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.labels = labels
        self.task = task
        self._spec = spec
        files = list(files)
        keep = len(files) * int(np.prod(spec.sample_shape_hwc)) <= cache_bytes
        with ThreadPoolExecutor(4, thread_name_prefix="decode") as pool:
            tried = list(pool.map(lambda file: self._try(file, keep), files))
        self.skipped = tuple(each for each in tried if isinstance(each, SkippedImage))
        good = [(f, r) for f, r in zip(files, tried, strict=True) if isinstance(r, _Read)]
        self.files = [file for file, _ in good]
        self._reads = [read for _, read in good]

    def _try(self, file: ImageFile, keep: bool) -> _Read | SkippedImage:
        try:
            # A pipe would be waited for.
            if file.path.exists() and not file.path.is_file():
                return SkippedImage(file.path, "unreadable: no file")
            encoded = file.path.read_bytes()
            sample_hwc = load_sample(encoded, self._spec)
        except FrameRejected as cause:
            return SkippedImage(file.path, str(cause))
        except OSError as cause:
            return SkippedImage(file.path, f"unreadable: {cause.strerror}")
        return _Read(len(encoded), sample_hwc if keep else None)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int | Tensor]:
        file, sample_hwc = self.files[index], self._reads[index].sample_hwc
        if sample_hwc is None:
            loaded = self._try(file, keep=True)
            if isinstance(loaded, SkippedImage) or loaded.sample_hwc is None:
                raise HeadraceError(f"{file.path} could be read at the start and can't be now")
            sample_hwc = loaded.sample_hwc
        target: int | Tensor = (
            file.target
            if isinstance(file.target, int)
            else torch.tensor(file.target, dtype=torch.float32)
        )
        return torch.from_numpy(sample_hwc), target

    def targets(self) -> Sequence[int | tuple[float, ...]]:
        """See ``Samples.targets``."""
        return [file.target for file in self.files]

    @property
    def digest(self) -> str:
        """See ``Samples.digest``: names here, and sizes as of when they were decoded."""
        digest = hashlib.sha256()
        for file, read in zip(self.files, self._reads, strict=True):
            digest.update(f"{file.key}\0{file.target}\0{read.size_bytes}\n".encode())
        return digest.hexdigest()


def is_held_out(key: str) -> bool:
    """Whether a picture is of the fifth that is held out where the data itself has no parts.

    By a hash of ``key``, so that a picture stays in its part when others come.
    """
    first = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big")
    return first < _HELDOUT_SHARE * 2**32


def check_usable(
    source: Path, train: ImageFilesData, heldout: ImageFilesData, layout: str, parts: str
) -> None:
    """Checks that there is something to learn each label from, and something held out.

    Raises:
        ConfigError: there isn't. Ends with ``layout``, or with ``parts``, how to make the parts.
    """
    skipped = (*train.skipped, *heldout.skipped)
    broken = f" ({len(skipped)} files were skipped, first {skipped[0].path})" if skipped else ""
    missing = _without_picture(train)
    if missing:
        raise ConfigError(
            f"{source} has no picture to learn {', '.join(missing)} from{broken}. {layout};"
            " a class needs about ten, as a fifth is held out."
        )
    if not len(train):
        raise ConfigError(f"{source} has no picture to learn from{broken}. {layout}.")
    if not len(heldout):
        raise ConfigError(
            f"{source} has {len(train)} pictures and none held out{broken}. Add pictures, or make"
            f" the parts yourself: {parts}."
        )


def _without_picture(train: ImageFilesData) -> list[str]:
    """Labels that no sample has; a regression's values have them all."""
    if train.task == "regression":
        return []
    there = set[int]()
    for file in train.files:
        if isinstance(file.target, int):
            there.add(file.target)
        else:
            there.update(index for index, value in enumerate(file.target) if value)
    return [label for index, label in enumerate(train.labels) if index not in there]
