"""A worker that has less to do than it could, as much as it could, and three times as much."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.bench.baselines import bare_frame_s
from pipeline.bench.rounds import AGES, percentile, rotated
from pipeline.bench.scenario import Scenario, threads_as_before
from pipeline.bench.stream import NAME, PacedPictures
from pipeline.bench.subject import run_worker, scored_ages_s
from pipeline.clock import SystemClock
from pipeline.errors import StageFailed

SHARES = (0.3, 0.5, 0.7, 0.9)
HALF, MANY, CAMERAS, OVERLOAD = "load_50", "load_50_of_64_streams", "cameras", "overload"
QUIET, BESIDE_HOT = "quiet", "quiet_beside_hot"
MAX_AGE_S = 0.5
CAMERA_FPS = 25.0

_MANY_STREAMS = 64
_CAMERAS = 8
_TIMES = 3.0
_HOT_TIMES = 50
_BEYOND = 1.2
"""The hot stream alone is as much as the worker can, and all of them are more."""
_FULL = "full_speed"
_LEAST_FRAMES = 20
_BARE_FRAMES = 100


@dataclass(frozen=True, slots=True)
class Level:
    """What comes in: ``fps`` frames a second in all, None as fast as they are taken, of ``streams``
    in turn. With ``max_age_s`` the streams are live: too much is shed, and not queued. Ages are
    those of ``watched`` streams, of all where none is named."""

    name: str
    fps: float | None
    streams: tuple[str, ...] = (NAME,)
    max_age_s: float | None = None
    watched: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class AtLevel:
    """A run at one. ``age_s`` has quantiles of scored frames' ages from when they were due, by the
    shares of ``AGES``; ``scored`` and ``shed`` are of all streams."""

    level: Level
    given: int
    scored: int
    shed: int
    duration_s: float
    cpu_s: float
    age_s: dict[float, float]

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
    quiet = _streams(_CAMERAS)
    with_hot = _beside_hot(quiet)
    fps_each = _BEYOND * full_fps / len(with_hot)
    return (
        *(Level(f"load_{share * 100:.0f}", share * full_fps) for share in SHARES),
        Level(MANY, 0.5 * full_fps, _streams(_MANY_STREAMS)),
        Level(CAMERAS, _CAMERAS * CAMERA_FPS, quiet, MAX_AGE_S),
        Level(OVERLOAD, beyond, _streams(max(1, round(beyond / CAMERA_FPS))), MAX_AGE_S),
        Level(QUIET, fps_each * len(quiet), quiet, MAX_AGE_S),
        Level(BESIDE_HOT, fps_each * len(with_hot), with_hot, MAX_AGE_S, frozenset(quiet)),
    )


def _streams(count: int) -> tuple[str, ...]:
    return tuple(f"{NAME}-{each}" for each in range(count))


def _beside_hot(quiet: tuple[str, ...]) -> tuple[str, ...]:
    """A frame of each, and evenly between them fifty of one more."""
    hot = f"{NAME}-hot"
    before = [_HOT_TIMES * place // len(quiet) for place in range(len(quiet) + 1)]
    turns: list[str] = []
    for place, stream in enumerate(quiet):
        turns += [stream, *[hot] * (before[place + 1] - before[place])]
    return tuple(turns)


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
    with threads_as_before(scenario.machine):
        tell("warm-up")
        _full_speed(scenario)
        return [_round(scenario, number, seconds, tell) for number in range(scenario.rounds)]


def _round(
    scenario: Scenario, number: int, seconds: float, tell: Callable[[str], None]
) -> LoadRound:
    tell("full speed")
    full_speed = _full_speed(scenario)
    bare_s = bare_frame_s(scenario, _BARE_FRAMES)
    levels = {each.name: each for each in levels_of(full_speed.scored_fps)}
    found: dict[str, AtLevel] = {}
    for name in rotated(tuple(levels), number):
        fps = levels[name].fps or 0.0
        tell(f"{name}, {fps:.0f} frames/s")
        found[name] = _at(scenario, levels[name], max(_LEAST_FRAMES, round(fps * seconds)))
    return LoadRound(bare_s, full_speed, {name: found[name] for name in levels})


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
    _, summary, cpu_s = run_worker(scenario, stream, f"jsonl:{rows}")
    by_stream = scored_ages_s(rows)
    ages_s = [
        age_s
        for stream, ages in by_stream.items()
        if not level.watched or stream in level.watched
        for age_s in ages
    ]
    if summary.error is not None or not ages_s:
        raise StageFailed(
            f"nothing can be said of {level.name}: {summary.error or 'no frame was scored'}"
        )
    age_s = {share: percentile(ages_s, share) for share in AGES}
    scored = sum(map(len, by_stream.values()))
    return AtLevel(level, count, scored, summary.shed, summary.duration_s, cpu_s, age_s)
