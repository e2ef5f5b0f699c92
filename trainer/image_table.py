"""A table of pictures as data: each row names a picture, and what it is.

    path      of the picture, relative to the table's folder
    label     its class; or
    labels    all that it shows, with | between them, or a list in Parquet; may be empty; or
    …         columns of numbers, those that the user names
    split     train or heldout; without this column a fifth is held out, by a hash of the path

Other columns are ignored. Pictures lie in the table's folder or below it: a table of somebody
else's must not make a network of other files. Links are followed, as in an image folder.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.errors import ConfigError
from pipeline.preprocess import PreprocessSpec
from pipeline.types import Task
from trainer.data import SplitData
from trainer.image_files import (
    ImageFile,
    ImageFilesData,
    SkippedImage,
    check_usable,
    is_held_out,
)
from trainer.table import Cell, Table, TableRow, open_table

_SEPARATOR = "|"
_SPLITS = {"train": False, "heldout": True, "val": True}
"""What the column may say, and whether that is held out; an image folder calls it ``val``."""

_LARGEST = 1e18
"""Of a regression's values, which are learnt by their squares."""

_LAYOUT = "Expected the columns path and label, and a row for each picture"
_PARTS = "a column split of train and heldout"


@dataclass(frozen=True, slots=True)
class _Columns:
    """Which columns of a table are read, and as what."""

    task: Task
    answers: tuple[str, ...]
    has_split: bool

    @property
    def names(self) -> tuple[str, ...]:
        return ("path", *self.answers, *(("split",) if self.has_split else ()))


@dataclass(frozen=True, slots=True)
class _Entry:
    """A row that was understood. ``answer`` is names of labels, or a regression's values."""

    place: str
    key: str
    is_held_out: bool
    answer: tuple[str | float, ...]


def image_table(
    table: Path, spec: PreprocessSpec, targets: Sequence[str] = ()
) -> tuple[SplitData, tuple[SkippedImage, ...]]:
    """Reads a table of pictures and says which rows were skipped.

    Args:
        table: A ``.csv`` or ``.parquet`` file.
        spec: How pictures become samples.
        targets: Columns of numbers to predict; without them ``label`` or ``labels`` is learnt.

    Raises:
        ConfigError: the table can't be read, lacks a column, a row can't be meant so, or a label or
            part has no usable picture.
    """
    opened = open_table(table)
    columns = _columns(table, opened, targets)
    entries, repeated = _without_repetition(table, _entries(table, opened, columns))
    labels = _labels(table, columns, entries)
    numbers = {label: index for index, label in enumerate(labels)}
    train, heldout = (
        ImageFilesData(
            [
                ImageFile(table.parent / entry.key, entry.key, _target(columns, entry, numbers))
                for entry in entries
                if entry.is_held_out is held_out
            ],
            labels,
            spec,
            columns.task,
        )
        for held_out in (False, True)
    )
    check_usable(table, train, heldout, _LAYOUT, _PARTS)
    return SplitData(train, heldout, spec), (*repeated, *train.skipped, *heldout.skipped)


def _columns(table: Path, opened: Table, targets: Sequence[str]) -> _Columns:
    has_split = "split" in opened.columns
    missing = [name for name in ("path", *targets) if name not in opened.columns]
    if missing:
        raise ConfigError(
            f"{table} has no column {missing[0]!r}; it has {', '.join(opened.columns)}. {_LAYOUT},"
            " with commas between the columns."
        )
    if len(set(targets)) != len(targets) or {"path", "split"} & set(targets):
        raise ConfigError(
            f"--target {' --target '.join(targets)}: expected different columns of numbers"
        )
    if targets:
        return _Columns("regression", tuple(targets), has_split)
    found = [name for name in ("label", "labels") if name in opened.columns]
    if len(found) != 1:
        raise ConfigError(
            f"{table} has {'both columns' if found else 'no column'} label and labels, expected one"
            " of them: label for a picture's one class, labels for all that it shows. For numbers"
            " give --target COLUMN."
        )
    return _Columns("single-label" if found == ["label"] else "multi-label", (*found,), has_split)


def _entries(table: Path, opened: Table, columns: _Columns) -> Iterator[_Entry]:
    known: dict[str, str] = {}  # one text for each label, not one for each row
    for row in opened.rows(columns.names):
        try:
            key = _key(row.cells["path"])
            answer = _answer(columns, row)
            held_out = _is_held_out(key, row.cells) if columns.has_split else is_held_out(key)
        except ValueError as cause:
            raise ConfigError(f"{table}, {row.place}: {cause}") from cause
        shared = tuple(known.setdefault(x, x) if isinstance(x, str) else x for x in answer)
        yield _Entry(row.place, key, held_out, shared)


def _key(cell: Cell) -> str:
    path = PurePosixPath(cell if isinstance(cell, str) else "")
    if path == PurePosixPath() or "\0" in str(path):
        raise ValueError(f"path is {cell!r}, expected that of a picture")
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(
            f"path is {cell!r}, which leaves the table's folder. Expected a path below it: put the"
            " table beside the pictures."
        )
    return path.as_posix()


def _is_held_out(key: str, cells: Mapping[str, Cell]) -> bool:
    said = cells["split"]
    if not isinstance(said, str) or said not in _SPLITS:
        raise ValueError(f"split of {key} is {said!r}, expected train or heldout")
    return _SPLITS[said]


def _answer(columns: _Columns, row: TableRow) -> tuple[str | float, ...]:
    if columns.task == "regression":
        return tuple(_number(name, row.cells[name]) for name in columns.answers)
    cell = row.cells[columns.answers[0]]
    if columns.task == "multi-label":
        names = cell if isinstance(cell, list) else [cell]
        for name in names:
            if not _is_name(name):
                raise ValueError(f"labels has {name!r}, expected labels as text or numbers")
        if not isinstance(cell, list):
            names = _text(cell).split(_SEPARATOR)
        return tuple(sorted({_text(name) for name in names} - {""}))
    if not _is_name(cell):
        raise ValueError(f"label is {cell!r}, expected a class as text or a number")
    if not _text(cell):
        raise ValueError("label is empty, expected a class")
    return (_text(cell),)


def _is_name(cell: Cell) -> bool:
    """Whether its text is a label's; or there is none. A NaN is a gap that pandas filled."""
    if isinstance(cell, float):
        return math.isfinite(cell)
    return not isinstance(cell, (list, tuple, dict, bytes))


def _text(cell: Cell) -> str:
    return "" if cell is None else str(cell).strip()


def _number(name: str, cell: Cell) -> float:
    try:
        value = float(_text(cell))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{name} is {cell!r}, expected a finite number")
    if abs(value) > _LARGEST:
        raise ValueError(
            f"{name} is {cell!r}, expected a number from {-_LARGEST:g} to {_LARGEST:g}, the"
            " square of which is one in float32. Give it in a larger unit."
        )
    return value


def _without_repetition(
    table: Path, entries: Iterator[_Entry]
) -> tuple[list[_Entry], list[SkippedImage]]:
    """Each picture once: in both parts, or with two answers, it would say nothing."""
    kept: dict[str, _Entry] = {}
    repeated = list[SkippedImage]()
    for entry in entries:
        first = kept.setdefault(entry.key, entry)
        if first is entry:
            continue
        if (first.answer, first.is_held_out) != (entry.answer, entry.is_held_out):
            raise ConfigError(
                f"{table}, {entry.place}: {entry.key} is already in {first.place}, as something"
                " else. Give each picture one row."
            )
        said_twice = f"named twice, in {first.place} and {entry.place}"
        repeated.append(SkippedImage(table.parent / entry.key, said_twice))
    return list(kept.values()), repeated


def _labels(table: Path, columns: _Columns, entries: Sequence[_Entry]) -> tuple[str, ...]:
    if columns.task == "regression":
        return columns.answers
    labels = tuple(sorted({str(name) for entry in entries for name in entry.answer}))
    least = 2 if columns.task == "single-label" else 1
    if len(labels) < least:
        raise ConfigError(
            f"{table} has {len(entries)} pictures of {len(labels)} labels, expected at least"
            f" {least}. {_LAYOUT}."
        )
    return labels


def _target(
    columns: _Columns, entry: _Entry, numbers: Mapping[str, int]
) -> int | tuple[float, ...]:
    if columns.task == "single-label":
        return numbers[str(entry.answer[0])]
    if columns.task == "multi-label":
        return tuple(float(label in entry.answer) for label in numbers)
    return tuple(float(value) for value in entry.answer)
