"""Feedback: frames that came by and what they really showed, as an image folder that grows.

See ``pipeline.labelled_folder``. Whoever else labels writes a file under a name that begins with a
dot and renames it, so that nobody reads half a picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.labelled_folder import PICTURES
from pipeline.preprocess import PreprocessSpec
from trainer.data import SplitData
from trainer.image_files import ImageFile, ImageFilesData, is_held_out


@dataclass(frozen=True, slots=True)
class Arrived:
    """A labelled picture, and when its file came there (Unix seconds)."""

    file: ImageFile
    at: float


@dataclass(frozen=True, slots=True)
class Feedback:
    """What is in the folder at one moment, the newest last. ``unknown``: folders that are no label
    of the model's."""

    arrived: tuple[Arrived, ...]
    unknown: tuple[str, ...]

    def since(self, moment: float) -> int:
        """How many came after that moment."""
        return sum(each.at > moment for each in self.arrived)

    @property
    def newest_at(self) -> float:
        """When the newest came, 0 without any."""
        return self.arrived[-1].at if self.arrived else 0.0


def look(root: Path, labels: tuple[str, ...], most: int) -> Feedback:
    """Lists the newest ``most`` pictures. A folder that isn't there yet is empty.

    Raises:
        ConfigError: it can't be listed.
    """
    arrived: list[Arrived] = []
    class_of = {label: class_id for class_id, label in enumerate(labels)}
    unknown: list[str] = []
    try:
        folders = sorted(each for each in root.iterdir() if each.is_dir()) if root.exists() else []
        for folder in folders:
            if folder.name.startswith("."):
                continue
            if folder.name not in class_of:
                unknown.append(folder.name)
                continue
            arrived += _listed(root, folder, class_of[folder.name])
    except OSError as cause:
        raise ConfigError(f"--feedback {root} can't be read: {cause.strerror}") from cause
    arrived.sort(key=lambda each: (each.at, each.file.key))
    return Feedback(tuple(arrived[-most:]), tuple(unknown))


def _listed(root: Path, folder: Path, class_id: int) -> list[Arrived]:
    found: list[Arrived] = []
    for path in folder.iterdir():
        if path.name.startswith(".") or path.suffix.lower() not in PICTURES:
            continue
        try:
            # When it was renamed to this name, not when what is in it was written: that may be long
            # ago, or in times to come.
            at = path.stat().st_ctime
        except FileNotFoundError:  # who keeps only the newest has just removed it
            continue
        key = path.relative_to(root).as_posix()
        found.append(Arrived(ImageFile(path, key, class_id), at))
    return found


def read(feedback: Feedback, labels: tuple[str, ...], spec: PreprocessSpec) -> SplitData:
    """Decodes it; a fifth is held out by a hash of each name, so a picture stays in its part.

    Pictures that are gone by now or can't be decoded are left out.
    """
    files = [each.file for each in feedback.arrived]
    return SplitData(
        ImageFilesData((file for file in files if not is_held_out(file.key)), labels, spec),
        ImageFilesData((file for file in files if is_held_out(file.key)), labels, spec),
        spec,
    )
