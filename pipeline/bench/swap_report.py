"""What swaps cost the frames, as JSON and as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.text import Text

from pipeline.bench.conditions import (
    conditions_json,
    goal_shown,
    measured_on,
    setup_json,
    spread_json,
    table,
)
from pipeline.bench.felt import Between
from pipeline.bench.rounds import AGES, spread
from pipeline.bench.scenario import Scenario
from pipeline.bench.swapping import Swapping

SCHEMA = "headrace.bench.swaps/1"

_GOALS = {"p99": 1.1}
"""The project's own: at most so much."""

_SETTLED = 10
"""Swaps after which memory is compared: torch's allocators have what they keep by then."""


def make_report(scenario: Scenario, measured: Swapping, load_before: float) -> dict[str, Any]:
    """Everything as one JSON object: ratios first, then what they are of, then how."""
    swaps, load = measured.swaps, measured.plan.load
    full_speed = spread(measured.full_speed_fps)
    return {
        "schema": SCHEMA,
        "ratios": {
            f"{AGES[share]}_in_swaps_over_before": {
                "usual": _between(usual),
                "together": _between(measured.felt.together[share]),
                "control_usual": _between(measured.control.usual[share]),
                "control_together": _between(measured.control.together[share]),
                "goal": _GOALS.get(AGES[share]),
            }
            for share, usual in measured.felt.usual.items()
        },
        "age_ms": {
            "in_swaps": _ms(measured.felt.swap_s),
            "before": _ms(measured.felt.calm_s),
        },
        "swaps": {
            "count": len(swaps),
            "apart_s": measured.plan.apart_s,
            "frames": measured.felt.frames_in_swaps,
            "took_s": spread_json(spread([each.took_s for each in swaps])),
            "pause_ms": spread_json(spread([1000 * each.pause_s for each in swaps])),
            "resident_mib": _resident([each.resident_bytes for each in swaps]),
        },
        "stream": {
            "full_speed_frames_per_s": spread_json(full_speed),
            "share": load,
            "frames_per_s": round(load * full_speed.median, 1),
        },
        "setup": setup_json(scenario),
        **conditions_json(scenario.machine.cores, load_before),
    }


def tables(report: Mapping[str, Any]) -> Group:
    """The report for a person, ratios first."""
    headings = ("before", "in swaps", "ratio", "a usual swap's ratio", "goal")
    ages = table("Ages of frames, ms; ratios with where they are in nine of ten cases", *headings)
    before, in_swaps = report["age_ms"]["before"], report["age_ms"]["in_swaps"]
    for name, ratio in report["ratios"].items():
        which = name.partition("_")[0]
        goal = goal_shown(ratio["goal"], "at most")
        ratios = [_shown(ratio[kind]) for kind in ("together", "usual")]
        of_calms = [_shown(ratio[kind]) for kind in ("control_together", "control_usual")]
        ages.add_row(which, f"{before[which]:.1f}", f"{in_swaps[which]:.1f}", *ratios, goal)
        ages.add_row("of two calms", "", "", *of_calms, "")
    swaps, stream, setup = report["swaps"], report["stream"], report["setup"]
    took, pause, memory = swaps["took_s"], swaps["pause_ms"], swaps["resident_mib"]
    times = "1 swap" if swaps["count"] == 1 else f"{swaps['count']} swaps"
    notes = (
        f"{times} of {setup['net']}, {swaps['frames']} frames in them, beside the"
        f" calm before each, at {stream['frames_per_s']:g} frames/s in the middle, which is"
        f" {stream['share']:.0%} of the worker's speed, found out anew again and again\n"
        f"a swap took {took['median']:.2f} s ({took['min']:.2f}–{took['max']:.2f}), the pause that"
        f" the worker told was {pause['median']:.1f} ms ({pause['min']:.1f}–{pause['max']:.1f})\n"
        f"resident memory: {memory['settled']:.0f} MiB after the first swaps,"
        f" {memory['last']:.0f} MiB after the last\n{measured_on(report)}"
    )
    return Group(ages, Text(notes))


def _between(value: Between) -> dict[str, float]:
    return {
        "ratio": round(value.ratio, 3),
        "low": round(value.low, 3),
        "high": round(value.high, 3),
    }


def _shown(value: Mapping[str, float]) -> str:
    return f"{value['ratio']:.2f} ({value['low']:.2f}–{value['high']:.2f})"


def _ms(values_s: Mapping[float, float]) -> dict[str, float]:
    return {AGES[share]: round(1000 * value, 2) for share, value in values_s.items()}


def _resident(by_swap: Sequence[int]) -> dict[str, float]:
    settled = by_swap[min(_SETTLED, len(by_swap)) - 1]
    return {"settled": round(settled / 2**20, 1), "last": round(by_swap[-1] / 2**20, 1)}
