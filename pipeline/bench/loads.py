"""A worker that has less to do than it could, as much as it could, and three times as much."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.bench.baselines import one_at_a_time
from pipeline.bench.rounds import percentile, rotated
from pipeline.bench.scenario import Scenario, use_threads
from pipeline.bench.stream import PacedPictures
from pipeline.bench.subject import MeteredSource
from pipeline.clock import SystemClock
from pipeline.errors import StageFailed
from pipeline.worker import Worker

SHARES = (0.3, 0.5, 0.7, 0.9)
HALF, MANY, CAMERAS, OVERLOAD = "load_50", "load_50_of_64_streams", "cameras", "overload"
MAX_AGE_S = 0.5
CAMERA_FPS = 25.0
AGE_SHARES = (0.5, 0.9, 0.99, 1.0)
"""Quantiles of ages; 1.0 is the longest."""

_MANY_STREAMS = 64
_CAMERAS = 8
_TIMES = 3.0
_FULL = "full_speed"
_LEAST_FRAMES = 20
_BARE_FRAMES = 100


@dataclass(frozen=True, slots=True)
class Level:
    """What comes in: ``fps`` frames a second in all, None as fast as they are taken. With
    ``max_age_s`` the streams are live: too much is shed, and not queued."""

    name: str
    fps: float | None
    streams: int = 1
    max_age_s: float | None = None


@dataclass(frozen=True, slots=True)
class AtLevel:
    """A run at one. ``age_s`` has scored frames' ages from when they were due, by
    ``AGE_SHARES``."""

    level: Level
    given: int
    scored: int
    shed: int
    duration_s: float
    cpu_s: float
    age_s: tuple[float, ...]

    @property
    def scored_fps(self) -> float:
        """Frames scored in a second."""
        return self.scored / self.duration_s

    @property
    def cpu_ms_per_frame(self) -> float:
        """CPU time of all threads for each frame that came in, in milliseconds."""
        return 1000 * self.cpu_s / self.given

    @property
    def unaccounted(self) -> int:
        """Frames that neither have a row with a score nor are counted as shed."""
        return self.given - self.scored - self.shed


@dataclass(frozen=True, slots=True)
class LoadRound:
    """All levels, one right after the other. ``bare_s`` is what one frame takes that is decoded and
    computed by itself."""

    bare_s: float
    full_speed: AtLevel
    levels: dict[str, AtLevel]


def levels_of(full_fps: float) -> tuple[Level, ...]:
    """The levels for a worker that scores so many frames a second."""
    beyond = _TIMES * full_fps
    return (
        *(Level(f"load_{share * 100:.0f}", share * full_fps) for share in SHARES),
        Level(MANY, 0.5 * full_fps, _MANY_STREAMS),
        Level(CAMERAS, _CAMERAS * CAMERA_FPS, _CAMERAS, MAX_AGE_S),
        Level(OVERLOAD, beyond, max(1, round(beyond / CAMERA_FPS)), MAX_AGE_S),
    )


def runs_in_all(rounds: int) -> int:
    """How often ``measure_loads`` calls ``tell``."""
    return 1 + rounds * (1 + len(levels_of(1.0)))


def measure_loads(
    scenario: Scenario, seconds: float, tell: Callable[[str], None]
) -> list[LoadRound]:
    """Runs the scenario's rounds; each level lasts so many ``seconds``. Every round begins with the
    full speed, of which its levels are parts: a shared machine's changes by a half between minutes.

    Raises:
        StageFailed: a worker ended early.
    """
    try:
        tell("warm-up")
        _full_speed(scenario)
        return [_round(scenario, number, seconds, tell) for number in range(scenario.rounds)]
    finally:
        use_threads(scenario.machine.torch_threads, scenario.machine.opencv_threads)


def _round(
    scenario: Scenario, number: int, seconds: float, tell: Callable[[str], None]
) -> LoadRound:
    tell("full speed")
    full_speed = _full_speed(scenario)
    bare = one_at_a_time(scenario, _BARE_FRAMES)
    if bare.age_p50_s is None:
        raise StageFailed("nothing is known of one frame by itself")
    levels = levels_of(full_speed.scored_fps)
    found: dict[str, AtLevel] = {}
    names = [each.name for each in levels]
    for name in rotated(names, number):
        level = levels[names.index(name)]
        tell(f"{name}, {level.fps or 0:.0f} frames/s")
        count = max(_LEAST_FRAMES, round((level.fps or 0) * seconds))
        found[name] = _at(scenario, level, count)
    return LoadRound(bare.age_p50_s, full_speed, {name: found[name] for name in names})


def _full_speed(scenario: Scenario) -> AtLevel:
    return _at(scenario, Level(_FULL, None), scenario.frames)


def _at(scenario: Scenario, level: Level, count: int) -> AtLevel:
    rows = Path(scenario.folder) / "load.jsonl"
    rows.unlink(missing_ok=True)
    stream = PacedPictures(
        *(scenario.pictures, count, level.fps, SystemClock()),
        streams=level.streams,
        max_age_s=level.max_age_s,
    )
    source = MeteredSource(stream)
    summary = Worker(scenario.settings(f"jsonl:{rows}"), sources=[source]).run()
    cpu_s = time.process_time() - source.cpu_s_at_start
    ages_s = _ages_s(rows)
    if summary.error is not None or not ages_s:
        raise StageFailed(
            f"nothing can be said of {level.name}: {summary.error or 'no frame was scored'}"
        )
    age_s = tuple(percentile(ages_s, share) for share in AGE_SHARES)
    return AtLevel(level, count, len(ages_s), summary.shed, summary.duration_s, cpu_s, age_s)


def _ages_s(rows: Path) -> Sequence[float]:
    """Of the scored frames."""
    told = map(json.loads, rows.read_text().splitlines())
    return [row["age_ms"] / 1000 for row in told if row["outcome"] == "scored"]
