"""A virtual environment that is filled in seconds from the one that runs the tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement


def fill_with_what_is_declared(name: str, packages: Path) -> None:
    """Puts into a ``site-packages`` all that the distribution ``name`` says it needs, directly or
    not, and nothing else: neither itself nor what tests and checks need.

    By hard links, as PyTorch alone has five gigabytes: what is written there shows here too, and
    pip, which replaces files and never writes into one, may be used on both.
    """
    for needed in _needs(distribution(name)):
        for file in needed.files or ():
            if ".." not in file.parts:  # scripts, which name their own interpreter
                _link(Path(str(needed.locate_file(file))), packages / file)


def _needs(of: Distribution) -> Iterator[Distribution]:
    seen: set[tuple[str, str]] = set()
    left = [(of, "")]
    while left:
        each, extra = left.pop()
        for line in each.requires or ():
            requirement = Requirement(line)
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            needed = distribution(requirement.name)
            for wanted in ("", *requirement.extras):
                if (requirement.name, wanted) not in seen:
                    seen.add((requirement.name, wanted))
                    left.append((needed, wanted))
                    yield needed


def _link(source: Path, target: Path) -> None:
    if target.exists() or not source.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # on another disk
        shutil.copy2(source, target)
