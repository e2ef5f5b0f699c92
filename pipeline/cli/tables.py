"""Tables on standard output, for people; ``--json`` is for programs."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence

_GAP = "  "


def print_lines(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints one line a row, as ``ls -l`` does: for what people also read through ``grep``.

    Only the last column is cut off where a terminal is too narrow, and only there.
    """
    lines = lay_out([columns, *rows])
    width = _terminal_width()
    for line in lines:
        print(line if width is None or len(line) <= width else f"{line[: width - 1]}…")


def print_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Prints a name and a value a line; a long value goes on below itself, no word is broken."""
    fields = list(fields)
    indent = max(len(name) for name, _ in fields) + len(_GAP)
    width = _terminal_width()
    for name, value in fields:
        text = name.ljust(indent) + value
        lines = [text]
        if width is not None:
            lines = textwrap.wrap(
                text,
                max(width, 2 * indent),
                subsequent_indent=" " * indent,
                break_long_words=False,
                break_on_hyphens=False,
                replace_whitespace=False,
            )
        print("\n".join(lines).rstrip())


def lay_out(rows: Sequence[Sequence[str]]) -> list[str]:
    """Cells under each other, two spaces between the columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _terminal_width() -> int | None:
    """Characters in a line, of ``COLUMNS`` or the terminal; None where nothing is a limit."""
    if not sys.stdout.isatty() and "COLUMNS" not in os.environ:
        return None
    return max(shutil.get_terminal_size().columns, 20)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints rows under their columns; a cell's text is never read as markup."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for column in columns:
        # What is cut off is of no use: a digest or path goes on in the next line.
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
