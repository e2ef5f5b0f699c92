"""What frames' ages are under little and much load, as JSON and as tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from rich.console import Group
from rich.text import Text

from pipeline.bench.conditions import (
    conditions_json,
    goal_shown,
    measured_on,
    setup_json,
    shown,
    spread_json,
    table,
)
from pipeline.bench.loads import (
    BESIDE_HOT,
    HALF,
    MANY,
    MAX_AGE_S,
    OVERLOAD,
    QUIET,
    AtLevel,
    LoadRound,
)
from pipeline.bench.rounds import AGES, Spread, spread
from pipeline.bench.scenario import Scenario

_Run = TypeVar("_Run", LoadRound, AtLevel)

SCHEMA = "headrace.bench.load/1"

_GOALS = {
    "p99_at_half_load_over_bare": 2.0,
    "p99_in_overload_over_max_age": 1.0,
    "p99_beside_hot_over_quiet": 2.0,
}
"""The project's own: at most so much."""

_LEGEND = """\
load_N                 one stream of N % of the worker's speed, measured right before
load_50_of_64_streams  the same frames, of 64 streams in turn, in one partition
cameras                8 live streams of 25 frames/s
quiet                  8 live streams; ages beside_hot are theirs, beside one of fifty times as many
                       frames, which alone is as much as the worker can
overload               three times what it can, as live streams of 25 frames/s
bare                   decode and forward of one frame, on one thread, nobody else; the median"""


def make_report(
    scenario: Scenario, rounds: Sequence[LoadRound], load_before: float
) -> dict[str, Any]:
    """Everything as one JSON object: ratios first, then the levels, then how."""
    return {
        "schema": SCHEMA,
        "ratios": {
            name: spread_json(value) | {"goal": _GOALS.get(name)}
            for name, value in _ratios(rounds).items()
        },
        "unaccounted": sum(run.unaccounted for each in rounds for run in _runs(each)),
        "levels": {
            name: _level([each.levels[name] for each in rounds]) for name in rounds[0].levels
        },
        "full_speed_frames_per_s": _spread_of(rounds, lambda each: each.full_speed.scored_fps),
        "bare_ms": _spread_of(rounds, lambda each: 1000 * each.bare_s),
        "max_age_s": MAX_AGE_S,
        "setup": setup_json(scenario) | {"rounds": len(rounds)},
        **conditions_json(scenario.machine.cores, load_before),
    }


def tables(report: Mapping[str, Any]) -> Group:
    """The report for a person, ratios first."""
    ratios = table("Median of the rounds (least–most)", "ratio", "goal")
    for name, value in report["ratios"].items():
        goal = goal_shown(value["goal"], "at most")
        ratios.add_row(name.replace("_", " "), shown(value), goal)
    headings = ("frames/s", "p50 ms", "p90 ms", "p99 ms", "longest", "shed", "CPU ms/frame")
    levels = table("Ages of scored frames: medians of the rounds", *headings)
    for name, level in report["levels"].items():
        ages = map(_middle, level["age_ms"].values())
        shed = f"{level['shed_share']['median']:.0%}"
        cost = _middle(level["cpu_ms_per_frame"])
        levels.add_row(name, _middle(level["given_per_s"]), *ages, shed, cost)
    setup, missing = report["setup"], report["unaccounted"]
    notes = (
        f"full speed {shown(report['full_speed_frames_per_s'])} frames/s, bare"
        f" {shown(report['bare_ms'])} ms, `max_age` {1000 * report['max_age_s']:.0f} ms;"
        f" frames neither scored nor shed: {missing}\n"
        f"{setup['net']} on {setup['gpu'] or setup['device']}; {measured_on(report)}"
    )
    return Group(ratios, levels, Text(_LEGEND), Text(notes))


def _middle(value: Mapping[str, float]) -> str:
    return shown(value).partition(" ")[0]


def _ratios(rounds: Sequence[LoadRound]) -> dict[str, Spread]:
    """Each round's first, as what slows the machine for a while slows both."""
    by_round: dict[str, Callable[[LoadRound], float]] = {
        "p99_at_half_load_over_bare": lambda each: _p99_s(each, HALF) / each.bare_s,
        "p99_in_overload_over_max_age": lambda each: _p99_s(each, OVERLOAD) / MAX_AGE_S,
        "p99_beside_hot_over_quiet": lambda each: _p99_s(each, BESIDE_HOT) / _p99_s(each, QUIET),
        "p99_of_64_streams_over_one": lambda each: _p99_s(each, MANY) / _p99_s(each, HALF),
        "scored_in_overload_over_full_speed": lambda each: (
            each.levels[OVERLOAD].scored_fps / each.full_speed.scored_fps
        ),
    }
    return {name: spread([value(each) for each in rounds]) for name, value in by_round.items()}


def _p99_s(each: LoadRound, name: str) -> float:
    return each.levels[name].age_s[0.99]


def _runs(each: LoadRound) -> tuple[AtLevel, ...]:
    return (each.full_speed, *each.levels.values())


def _level(runs: Sequence[AtLevel]) -> dict[str, Any]:
    over = partial(_spread_of, runs)
    return {
        "streams": len(set(runs[0].level.streams)),
        "given_per_s": over(lambda run: run.level.fps or 0.0),
        "scored_per_s": over(lambda run: run.scored_fps),
        "given": sum(run.given for run in runs),
        "scored": sum(run.scored for run in runs),
        "shed": sum(run.shed for run in runs),
        "shed_share": over(lambda run: run.shed / run.given),
        "cpu_ms_per_frame": over(lambda run: run.cpu_ms_per_frame),
        "age_ms": {
            name: over(lambda run, share=share: 1000 * run.age_s[share])
            for share, name in AGES.items()
        },
    }


def _spread_of(runs: Sequence[_Run], value: Callable[[_Run], float]) -> dict[str, float]:
    return spread_json(spread([value(each) for each in runs]))
