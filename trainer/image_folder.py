"""An image folder as data: ``class/name.jpg``, or the same below ``train/`` and ``val/``."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.preprocess import PreprocessSpec
from trainer.data import SplitData
from trainer.image_files import (
    ImageFile,
    ImageFilesData,
    SkippedImage,
    check_usable,
    is_held_out,
)
from trainer.user_network import shortened

_LAYOUT = "Expected one folder for each class, with its pictures: PATH/cat/1.jpg, PATH/dog/2.jpg"
_PARTS = "PATH/train/CLASS and PATH/val/CLASS"


def image_folder(root: Path, spec: PreprocessSpec) -> tuple[SplitData, tuple[SkippedImage, ...]]:
    """Reads an image folder and says which files were skipped.

    Where ``train/`` and ``val/`` are there, they are the parts; otherwise ``is_held_out`` decides
    by each picture's path below ``root``.

    Raises:
        ConfigError: no folder, no classes, or nothing usable in a class or part.
    """
    if not root.is_dir():
        raise ConfigError(
            f"--data {root} is no folder. Use --data digits, an image folder, or a table of"
            " pictures: FILE.csv or FILE.parquet."
        )
    labels, train_files, heldout_files = _listed(root)
    train = ImageFilesData(train_files, labels, spec)
    heldout = ImageFilesData(heldout_files, labels, spec)
    check_usable(root, train, heldout, _LAYOUT, _PARTS)
    return SplitData(train, heldout, spec), (*train.skipped, *heldout.skipped)


def heldout_folder(
    root: Path, labels: tuple[str, ...], spec: PreprocessSpec
) -> tuple[ImageFilesData, tuple[SkippedImage, ...]]:
    """Reads all pictures of a folder, or of its ``val/`` where ``train/`` is beside that, to judge
    a network by that was trained elsewhere; says which were skipped. Not all labels need pictures.

    Raises:
        ConfigError: no folder, folders that aren't named as ``labels``, or no usable picture.
    """
    if not root.is_dir():
        raise ConfigError(f"--data {root} is no folder. {_LAYOUT}.")
    part = root / "val" if (root / "train").is_dir() and (root / "val").is_dir() else root
    names = _class_names(part, least=1)
    unknown = sorted(set(names) - set(labels))
    if unknown:
        raise ConfigError(
            f"--data {part} has folders that aren't labels of the network: {shortened(unknown)}."
            f" Its labels are {shortened(labels)}: name the folders so, or give --labels."
        )
    places = {label: place for place, label in enumerate(labels)}
    files = [
        ImageFile(each.path, each.key, places[name])
        for name in names
        for each in _files(part, (name,))
    ]
    samples = ImageFilesData(files, labels, spec)
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


def _class_names(root: Path, least: int = 2) -> tuple[str, ...]:
    names = (each.name for each in root.iterdir() if each.is_dir())
    labels = tuple(sorted(name for name in names if not name.startswith(".")))
    if len(labels) < least:
        raise ConfigError(
            f"{root} has {len(labels)} class folders, expected at least {least}. {_LAYOUT}."
        )
    return labels


def _files(root: Path, labels: tuple[str, ...]) -> list[ImageFile]:
    return [
        ImageFile(path, path.relative_to(root).as_posix(), class_id)
        for class_id, label in enumerate(labels)
        for path in sorted((root / label).rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    ]
