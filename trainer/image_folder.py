"""An image folder as data: ``class/name.jpg``, or the same below ``train/`` and ``val/``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.errors import ConfigError, FrameRejected, HeadraceError
from pipeline.preprocess import PreprocessSpec, load_sample
from pipeline.types import ImageHwc
from trainer.data import Samples, SplitData
from trainer.user_network import shortened

_HELDOUT_SHARE = 0.2
CACHE_BYTES = 2 * 1024**3
"""Up to this size samples are kept in memory; of a larger set each is decoded when asked for."""

_LAYOUT = "Expected one folder for each class, with its pictures: PATH/cat/1.jpg, PATH/dog/2.jpg"


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One picture and its class. ``key`` is its path below the data's folder, with slashes."""

    path: Path
    key: str
    class_id: int


@dataclass(frozen=True, slots=True)
class SkippedImage:
    """A file that can't be learnt from, and why."""

    path: Path
    reason: str


class ImageFolderData(Samples):
    """Pictures from files; those that can't be decoded are left out and named in ``skipped``.

    Every file is decoded once at the start; ``files`` are the usable ones. Safe in DataLoader
    workers: reads only.
    """

    def __init__(
        self,
        files: Iterable[ImageFile],
        labels: tuple[str, ...],
        spec: PreprocessSpec,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.labels = labels
        self._spec = spec
        files = list(files)
        keep = len(files) * int(np.prod(spec.sample_shape_hwc)) <= cache_bytes
        with ThreadPoolExecutor(4, thread_name_prefix="decode") as pool:
            tried = list(pool.map(lambda file: self._try(file, keep), files))
        self.skipped = tuple(each for each in tried if isinstance(each, SkippedImage))
        good = [
            (f, s) for f, s in zip(files, tried, strict=True) if not isinstance(s, SkippedImage)
        ]
        self.files = [file for file, _ in good]
        self._samples = [sample for _, sample in good]

    def _try(self, file: ImageFile, keep: bool) -> ImageHwc | SkippedImage | None:
        try:
            sample_hwc = load_sample(file.path.read_bytes(), self._spec)
        except FrameRejected as cause:
            return SkippedImage(file.path, str(cause))
        except OSError as cause:
            return SkippedImage(file.path, f"unreadable: {cause.strerror}")
        return sample_hwc if keep else None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        file, sample_hwc = self.files[index], self._samples[index]
        if sample_hwc is None:
            loaded = self._try(file, keep=True)
            if isinstance(loaded, SkippedImage) or loaded is None:
                raise HeadraceError(f"{file.path} could be read at the start and can't be now")
            sample_hwc = loaded
        return torch.from_numpy(sample_hwc), file.class_id

    @property
    def digest(self) -> str:
        """See ``Samples.digest``: names and sizes here, as reading all again would be slow."""
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(f"{file.key}\0{file.class_id}\0{file.path.stat().st_size}\n".encode())
        return digest.hexdigest()


def image_folder(root: Path, spec: PreprocessSpec) -> tuple[SplitData, tuple[SkippedImage, ...]]:
    """Reads an image folder and says which files were skipped.

    Where ``train/`` and ``val/`` are there, they are the parts; otherwise a fifth is held out by a
    hash of each picture's path below ``root``, so a picture stays in its part when others come.

    Raises:
        ConfigError: no folder, no classes, or nothing usable in a class or part.
    """
    if not root.is_dir():
        raise ConfigError(f"--data {root} is no folder. Use --data digits, or an image folder.")
    labels, train_files, heldout_files = _listed(root)
    train = ImageFolderData(train_files, labels, spec)
    heldout = ImageFolderData(heldout_files, labels, spec)
    skipped = (*train.skipped, *heldout.skipped)
    _check_usable(root, train, heldout, skipped)
    return SplitData(train, heldout, spec), skipped


def heldout_folder(
    root: Path, labels: tuple[str, ...], spec: PreprocessSpec
) -> tuple[ImageFolderData, tuple[SkippedImage, ...]]:
    """Reads all pictures of a folder, or of its ``val/`` where ``train/`` is beside that, to judge
    a network by that was trained elsewhere; says which were skipped. Not all labels need pictures.

    Raises:
        ConfigError: no folder, folders that aren't named as ``labels``, or no usable picture.
    """
    if not root.is_dir():
        raise ConfigError(f"--data {root} is no folder. {_LAYOUT}.")
    part = root / "val" if (root / "train").is_dir() and (root / "val").is_dir() else root
    names = _class_names(part)
    unknown = sorted(set(names) - set(labels))
    if unknown:
        raise ConfigError(
            f"--data {part} has folders that aren't labels of the network: {shortened(unknown)}."
            f" Its labels are {shortened(labels)}: name the folders so, or give --labels."
        )
    places = {label: place for place, label in enumerate(labels)}
    files = [
        ImageFile(each.path, each.key, places[names[each.class_id]]) for each in _files(part, names)
    ]
    samples = ImageFolderData(files, labels, spec)
    if not len(samples):
        raise ConfigError(f"--data {part} has no picture that can be decoded. {_LAYOUT}.")
    return samples, samples.skipped


def _listed(root: Path) -> tuple[tuple[str, ...], list[ImageFile], list[ImageFile]]:
    train, val = root / "train", root / "val"
    if train.is_dir() and val.is_dir():
        labels = _class_names(train)
        unknown = sorted(set(_class_names(val)) - set(labels))
        if unknown:
            raise ConfigError(
                f"{val} has classes that {train} lacks: {', '.join(unknown)}."
                " Give both the same folders."
            )
        return labels, _files(train, labels), _files(val, labels)
    labels = _class_names(root)
    files = _files(root, labels)
    heldout = [file for file in files if is_held_out(file.key)]
    return labels, [file for file in files if not is_held_out(file.key)], heldout


def _class_names(root: Path) -> tuple[str, ...]:
    names = (each.name for each in root.iterdir() if each.is_dir())
    labels = tuple(sorted(name for name in names if not name.startswith(".")))
    if len(labels) < 2:
        raise ConfigError(
            f"{root} has {len(labels)} class folders, expected at least 2. {_LAYOUT}."
        )
    return labels


def _files(root: Path, labels: tuple[str, ...]) -> list[ImageFile]:
    return [
        ImageFile(path, path.relative_to(root).as_posix(), class_id)
        for class_id, label in enumerate(labels)
        for path in sorted((root / label).rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    ]


def is_held_out(key: str) -> bool:
    """Whether the picture of this path is of the fifth that a network is judged by."""
    first = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big")
    return first < _HELDOUT_SHARE * 2**32


def _check_usable(
    root: Path,
    train: ImageFolderData,
    heldout: ImageFolderData,
    skipped: tuple[SkippedImage, ...],
) -> None:
    broken = f" ({len(skipped)} files were skipped, first {skipped[0].path})" if skipped else ""
    there = {train.labels[file.class_id] for file in train.files}
    missing = [label for label in train.labels if label not in there]
    if missing:
        raise ConfigError(
            f"{root} has no picture to learn {', '.join(missing)} from{broken}. {_LAYOUT};"
            " a class needs about ten, as a fifth is held out."
        )
    if not len(heldout):
        raise ConfigError(
            f"{root} has {len(train)} pictures and none held out{broken}. Add pictures, or make"
            " the parts yourself: PATH/train/CLASS and PATH/val/CLASS."
        )
