"""Tables in files, CSV or Parquet, read row by row. The one file that knows pyarrow."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from pipeline.errors import ConfigError

SUFFIXES = (".csv", ".parquet")

Cell: TypeAlias = object
"""Of CSV always text, stripped; of Parquet what its column holds: text, a number, a list, None."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row; ``place`` is where a person finds it: ``line 7``, the header being the first."""

    place: str
    cells: Mapping[str, Cell]


class Table(Protocol):
    """A file of rows under named columns. Not thread-safe."""

    columns: tuple[str, ...]

    def rows(self, wanted: Sequence[str]) -> Iterator[TableRow]:
        """All rows in their order, with the ``wanted`` columns alone.

        Raises:
            ConfigError: the file is damaged; names the place.
        """
        ...


def is_table(path: Path) -> bool:
    """Whether ``path`` names a table, by how it ends."""
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def open_table(path: Path) -> Table:
    """Reads a table's header.

    Raises:
        ConfigError: it can't be read, has no columns, or two of one name; or pyarrow is missing.
    """
    try:
        table = CsvTable(path) if path.suffix.lower() == ".csv" else ParquetTable(path)
    except OSError as cause:
        raise ConfigError(f"--data {path} can't be read: {cause.strerror or cause}") from cause
    twice = sorted(name for name, count in Counter(table.columns).items() if count > 1)
    if twice:
        raise ConfigError(f"{path} has more than one column {twice[0]!r}. Rename one of them.")
    return table


class CsvTable:
    """CSV after RFC 4180: commas, double quotes, UTF-8 with or without a byte order mark.

    Raises:
        ConfigError: it is empty, or no such text.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        header = next(self._records(), None)
        if header is None:
            raise ConfigError(f"{path} is empty, expected a line with the columns' names first")
        self.columns = tuple(header[1])

    def rows(self, wanted: Sequence[str]) -> Iterator[TableRow]:
        """See ``Table.rows``."""
        chosen = [(name, self.columns.index(name)) for name in wanted]
        records = self._records()
        next(records)
        for line, record in records:
            if len(record) != len(self.columns):
                raise ConfigError(
                    f"{self._path}, line {line} has {len(record)} cells, expected"
                    f" {len(self.columns)}. Put a cell that has a comma into double quotes."
                )
            yield TableRow(f"line {line}", {name: record[index] for name, index in chosen})

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Each record that isn't blank, with the number of its last line."""
        with self._path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            try:
                for record in reader:
                    if record:
                        yield reader.line_num, [cell.strip() for cell in record]
            except UnicodeDecodeError as cause:
                raise ConfigError(
                    f"{self._path} isn't UTF-8 text after line {reader.line_num}."
                    " Save it as CSV in UTF-8."
                ) from cause
            except csv.Error as cause:
                raise ConfigError(
                    f"{self._path}, line {reader.line_num} isn't CSV: {cause}. Is a double quote"
                    " left open?"
                ) from cause


class ParquetTable:
    """A Parquet file, of which some thousand rows are in memory at a time.

    Raises:
        ConfigError: pyarrow isn't installed, or it is no such file.
        OSError: it can't be opened.
    """

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as cause:
            raise ConfigError(
                f"--data {path} needs the package pyarrow:"
                " python -m pip install 'headrace[parquet]'. A CSV file needs nothing."
            ) from cause
        self._path = path
        self._damage = pyarrow.ArrowException
        try:
            self._file = parquet.ParquetFile(path, memory_map=True)
        except pyarrow.ArrowInvalid as cause:
            raise self._damaged(cause) from cause
        self.columns = tuple(self._file.schema_arrow.names)

    def rows(self, wanted: Sequence[str]) -> Iterator[TableRow]:
        """See ``Table.rows``."""
        number = 0
        try:
            for batch in self._file.iter_batches(batch_size=8192, columns=list(wanted)):
                for cells in batch.to_pylist():
                    number += 1
                    yield TableRow(f"row {number}", cells)
        except (self._damage, OSError) as cause:
            raise self._damaged(cause) from cause

    def _damaged(self, cause: Exception) -> ConfigError:
        first_line = str(cause).partition("\n")[0]
        return ConfigError(f"{self._path} can't be read as Parquet: {first_line}")
