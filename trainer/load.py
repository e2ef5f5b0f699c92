"""Data by what the command line says of it: digits, an image folder, or a table of pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.preprocess import PreprocessSpec
from pipeline.types import OUTPUTS, Task
from trainer.data import DIGITS_TRAIN, SplitData, digits
from trainer.image_folder import image_folder
from trainer.image_table import image_table
from trainer.progress import TrainingProgress
from trainer.table import is_table
from trainer.tasks import read_as

_NAMED_FILES = 20


@dataclass(frozen=True, slots=True)
class DataChoice:
    """What the command line says of data.

    Attributes:
        data: ``digits``, an image folder, or a table of pictures.
        samples: Of ``digits``, to learn from.
        seed: Of ``digits``.
        targets: A table's columns: see ``image_table``.
        task: None where the data say it.
    """

    data: str
    samples: int = DIGITS_TRAIN
    seed: int = 0
    targets: tuple[str, ...] = ()
    task: Task | None = None


def load_data(choice: DataChoice, spec: PreprocessSpec, progress: TrainingProgress) -> SplitData:
    """Reads it, samples being made after ``spec``; files that can't be learnt from are named and
    left out.

    Raises:
        ConfigError: there is no such data, or it isn't of this task.
    """
    if choice.data == "digits":
        progress.say("rendering digits")
        split = digits(spec, choice.samples, choice.seed)
    else:
        progress.say(f"reading {choice.data}")
        path = Path(choice.data)
        if is_table(path):
            split, skipped = image_table(path, spec, choice.targets)
        else:
            split, skipped = image_folder(path, spec)
        for each in skipped[:_NAMED_FILES]:
            progress.say(f"skipped {each.path}: {each.reason}")
        if len(skipped) > _NAMED_FILES:
            progress.say(f"skipped {len(skipped)} files in all")
    if choice.task is not None:
        read_as(split, choice.task)
    progress.say(
        f"{len(split.train)} samples to learn from, {len(split.heldout)} held out,"
        f" {len(split.labels)} {OUTPUTS[split.task]}"
    )
    return split
