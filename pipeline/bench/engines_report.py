"""How fast backends are, as JSON and as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
from pipeline.bench.engines import SIZES, EngineRounds
from pipeline.bench.scenario import Scenario

SCHEMA = "headrace.bench.engines/1"

_GOALS = {1: 3.0, 32: 1.5}
"""The project's own, of the fastest one and the reference CNN: at least so much."""


def make_report(scenario: Scenario, measured: EngineRounds, load_before: float) -> dict[str, Any]:
    """Everything as one JSON object: ratios first, then frames a second, then how."""
    kinds = {"alone": measured.alone, "beside_decoding": measured.beside}
    others = measured.runners[1:]
    return {
        "schema": SCHEMA,
        "over": str(measured.runners[0]),
        "ratios": {
            kind: {
                str(by): {
                    str(n): spread_json(measured.ratio(rounds, by, n)) | {"goal": _GOALS.get(n)}
                    for n in SIZES
                }
                for by in others
            }
            for kind, rounds in kinds.items()
        },
        "frames_per_s": {
            kind: {
                str(by): {str(n): spread_json(measured.frames_per_s(rounds, by, n)) for n in SIZES}
                for by in measured.runners
            }
            for kind, rounds in kinds.items()
        },
        "setup": setup_json(scenario) | {"rounds": len(measured.alone)},
        **conditions_json(scenario.machine.cores, load_before),
    }


def tables(report: Mapping[str, Any]) -> Group:
    """The report for a person, ratios first."""
    setup = report["setup"]
    headings = tuple(f"batches of {n}" for n in SIZES)
    ratios = table(f"How many times as fast as {report['over']}", *headings)
    speeds = table("Frames a second", *headings)
    for made, values in ((ratios, report["ratios"]), (speeds, report["frames_per_s"])):
        for kind, runners in values.items():
            for name, by_size in runners.items():
                cells = (shown(by_size[str(n)]) for n in SIZES)
                made.add_row(f"{name}, {kind.replace('_', ' ')}", *cells)
    goals = ", ".join(f"{goal_shown(goal, 'at least')} in {n}" for n, goal in _GOALS.items())
    notes = (
        f"{setup['net']} alone, medians of {setup['rounds']} rounds (least–most); the goal for the"
        f" reference CNN is {goals}\n{measured_on(report)}"
    )
    return Group(ratios, speeds, Text(notes))
