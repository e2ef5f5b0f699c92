"""The command line in this process: quicker than a child, where what is imported doesn't matter."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from typer.testing import CliRunner

from pipeline.cli.app import make_app


@dataclass(frozen=True, slots=True)
class Ran:
    code: int
    out: str
    err: str


def headrace(*arguments: str, env: dict[str, str] | None = None) -> Ran:
    """Runs ``headrace`` with these arguments; an unknown error is raised."""
    with _logging_as_before():
        result = CliRunner().invoke(
            make_app(),
            [*arguments],
            catch_exceptions=False,
            prog_name="headrace",
            env={"COLUMNS": "160", **(env or {})},
        )
    return Ran(result.exit_code, result.stdout, result.stderr)


@contextmanager
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("pipeline", "trainer")}
    # The verbs take all handlers away and close them; pytest's own must not be among those.
    root.handlers = []
    try:
        yield
    finally:
        root.handlers, root.level = handlers, level
        for name, before in levels.items():
            logging.getLogger(name).setLevel(before)
