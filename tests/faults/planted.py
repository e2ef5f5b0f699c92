"""Runs ``headrace`` with changes planted into it.

    python -m tests.faults.planted PLANT[,PLANT] worker --source …

A plant is a module of ``tests/faults/mutants`` (a bug that the checker must catch) or another of
``tests/faults`` (a fault that can't be made from outside), with a function ``plant()``.
"""

from __future__ import annotations

import importlib
import sys

from pipeline.cli.app import main


def replace(owner: object, name: str, replacement: object) -> None:
    """Puts ``replacement`` in the place of an attribute, which must be there: a plant that no
    longer fits the program would prove nothing."""
    getattr(owner, name)
    setattr(owner, name, replacement)


if __name__ == "__main__":
    for plant in sys.argv.pop(1).split(","):
        importlib.import_module(f"tests.faults.{plant}").plant()
    main()
