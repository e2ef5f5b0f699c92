"""What a race between backends gave: who won, and where it is kept for the next start."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pipeline.artifact.manifest import Manifest
from pipeline.cores import cpu_model, default_torch_threads
from pipeline.types import Backend

log = logging.getLogger(__name__)

_CLEARLY = 0.95
"""Of the time that the first one takes: what is no quicker than this isn't worth a change."""

_MOST_RACES = 256

_PACKAGES = ("torch", "onnxruntime")
"""Whose versions change what a race gives."""


@dataclass(frozen=True, slots=True)
class Runner:
    """Who may run a network, with so many threads."""

    backend: Backend
    threads: int

    def __str__(self) -> str:
        return f"{self.backend}, {self.threads} thread{'' if self.threads == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class Lap:
    """How a runner did: ``batch_s`` are the seconds of a batch by its size. ``problem`` says why it
    may not run the network; "" if it may."""

    runner: Runner
    batch_s: Mapping[int, float]
    problem: str = ""


def runners_of(backends: Sequence[Backend], threads: int, cores: int) -> list[Runner]:
    """Those that are worth trying: with ``threads`` where the user said how many (above 0), else
    with the usual number, one, and all cores. The first is the one to take without a race."""
    counts = [threads] if threads else dict.fromkeys((default_torch_threads(cores), 1, cores))
    return [Runner(backend, count) for backend in backends for count in counts]


def fastest(laps: Sequence[Lap]) -> Runner:
    """The runner that takes the least time over all sizes, each counting alike, if that is clearly
    less than the first one's; else the first one. Sizes that one of them didn't run don't count."""
    first, *_ = laps
    able = [lap for lap in laps if not lap.problem]
    if not able:
        return first.runner
    common = set.intersection(*(set(lap.batch_s) for lap in able))
    times = [math.exp(statistics.fmean(math.log(lap.batch_s[n]) for n in common)) for lap in able]
    best_s = min(times)
    if able[0] is first and best_s > _CLEARLY * times[0]:
        return first.runner
    return able[times.index(best_s)].runner


@dataclass(frozen=True, slots=True)
class Raced:
    """A race that is over: its conditions, and how all did."""

    sizes: tuple[int, ...]
    decode_threads: int
    laps: tuple[Lap, ...]

    def says(self, runners: Sequence[Runner], sizes: Sequence[int], decode_threads: int) -> bool:
        """Whether it was the race that would be run now."""
        same = self.sizes == tuple(sizes) and self.decode_threads == decode_threads
        return same and [lap.runner for lap in self.laps] == list(runners)


@dataclass(frozen=True, slots=True)
class KeptRaces:
    """A folder of small JSON files, one a race: by network, machine and versions; without a folder
    nothing is kept. What can't be read isn't there, what can't be written is told: a race takes
    seconds, it is no loss.

    Thread-safe: a file is exchanged whole.
    """

    folder: Path | None

    @classmethod
    def usual(cls) -> KeptRaces:
        """In the user's folder for what can be made again; none where the user has no home."""
        try:
            cache = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
        except RuntimeError:
            return cls(None)
        return cls(Path(cache) / "headrace" / "races")

    def of(self, manifest: Manifest, cores: int) -> Raced | None:
        """The last race with this network here."""
        if self.folder is None:
            return None
        path = self.folder / _file(manifest, cores)
        try:
            raced = msgspec.json.decode(path.read_bytes(), type=Raced)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as cause:
            log.warning("%s can't be read: %s", path, cause)
            return None
        times = [taken_s for lap in raced.laps for taken_s in lap.batch_s.values()]
        is_whole = raced.laps and all(lap.batch_s for lap in raced.laps) and min(times) > 0
        return raced if is_whole else None

    def keep(self, manifest: Manifest, cores: int, raced: Raced) -> None:
        """Keeps a race that all runners ended; others may have been stopped by what passes."""
        if self.folder is None or any(lap.problem for lap in raced.laps):
            return
        path = self.folder / _file(manifest, cores)
        writing = path.with_suffix(f".{os.getpid()}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            writing.write_bytes(msgspec.json.encode(raced))
            writing.replace(path)
            self._forget_the_oldest(self.folder)
        except OSError as cause:
            log.warning("%s can't be written, the next start races again: %s", path, cause)

    def _forget_the_oldest(self, folder: Path) -> None:
        kept = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
        for path in kept[:-_MOST_RACES]:
            path.unlink(missing_ok=True)


def _file(manifest: Manifest, cores: int) -> str:
    about = [manifest.content, cores, cpu_model(), *map(_version, _PACKAGES)]
    return f"{hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]}.json"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
