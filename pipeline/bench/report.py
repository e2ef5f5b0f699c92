"""What was measured, as JSON and as tables, with what it was measured on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from pipeline.bench.compare import (
    CEILING,
    CONTENDERS,
    LOAD,
    PACED,
    PLAIN,
    PLAIN_DEFAULT,
    WORKER,
    AtPace,
    Comparison,
)
from pipeline.bench.conditions import machine_json, shown, spread_json, table, versions_json
from pipeline.bench.rounds import Round, Run, ratio, spread_of
from pipeline.bench.scenario import PICTURE_WH, Scenario
from pipeline.preprocess import check_image, dct_reduction

SCHEMA = "headrace.bench/1"

_KEEPS_UP = 0.98
"""A contender that finishes fewer than this share of a paced stream's frames a second falls
behind: its ages grow for as long as the stream goes on."""

_VALUES: Mapping[str, Callable[[Run], float | None]] = {
    "frames_per_s": lambda run: run.frames_per_s,
    "cpu_ms_per_frame": lambda run: run.cpu_ms_per_frame,
    "age_p50_ms": lambda run: None if run.age_p50_s is None else 1000 * run.age_p50_s,
    "age_p99_ms": lambda run: None if run.age_p99_s is None else 1000 * run.age_p99_s,
    "frames_per_batch": lambda run: run.frames_per_batch,
    "infer_ms_per_frame": lambda run: run.infer_ms_per_frame,
}
_COLUMNS = {
    "frames_per_s": "frames/s",
    "cpu_ms_per_frame": "CPU ms/frame",
    "age_p50_ms": "age p50 ms",
    "age_p99_ms": "age p99 ms",
}

_TITLES = {
    PLAIN: "a  plain",
    PLAIN_DEFAULT: "a' plain",
    CEILING: "b  ceiling",
    WORKER: "w  worker",
}
_LEGEND = """\
a   one frame at a time: full decode, resize, eager PyTorch with one thread, a JSON line
a'  the same with as many threads as torch takes by itself
b   decode and forward alone: the worker's threads, decode, batch size and network
w   the worker, `null:` at full speed, `jsonl:` when paced; its ages at full speed are the wait
    behind the frames in flight, from the metric's buckets"""


def make_report(comparison: Comparison, scenario: Scenario, load_before: float) -> dict[str, Any]:
    """Everything as one JSON object: ratios first, then medians with least and most, then how."""
    rounds = comparison.full_speed
    return {
        "schema": SCHEMA,
        "ratios": {
            "worker_over_plain": spread_json(ratio(rounds, WORKER, PLAIN)),
            "worker_over_ceiling": spread_json(ratio(rounds, WORKER, CEILING)),
            "worker_over_plain_default_threads": spread_json(ratio(rounds, WORKER, PLAIN_DEFAULT)),
            "ceiling_over_plain": spread_json(ratio(rounds, CEILING, PLAIN)),
        },
        "full_speed": {name: _values(rounds, name) for name in CONTENDERS},
        "paced": [_paced(each) for each in comparison.paced],
        "setup": _setup(scenario),
        "machine": machine_json(scenario.machine.cores, load_before),
        "versions": versions_json(),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "rounds": [{name: _values([each], name, plainly=True) for name in each} for each in rounds],
    }


def tables(report: Mapping[str, Any]) -> Group:
    """The report for a person, ratios first."""
    ratios = table("How many times as fast: median of the rounds (least–most)", "ratio")
    for name, value in report["ratios"].items():
        ratios.add_row(name.replace("_", " "), shown(value))
    at_full_speed = _values_table("At full speed", report["full_speed"])
    paced = [
        _values_table(
            f"At {each['frames_per_s']:.0f} frames/s, half of the {each['share_of']}'s speed",
            {name: each[name] for name in PACED},
        )
        for each in report["paced"]
    ]
    behind = [
        f"{_TITLES[name]} falls behind at {each['frames_per_s']:.0f} frames/s: its ages grow for as"
        " long as the stream goes on."
        for each in report["paced"]
        for name in PACED
        if not each[name]["keeps_up"]
    ]
    return Group(ratios, at_full_speed, *paced, *map(Text, [*behind, _LEGEND, _conditions(report)]))


def _values_table(title: str, rows: Mapping[str, Any]) -> Table:
    made = table(title, *_COLUMNS.values())
    for name, values in rows.items():
        made.add_row(_TITLES[name], *(shown(values[key]) for key in _COLUMNS))
    return made


def _conditions(report: Mapping[str, Any]) -> str:
    setup, machine, versions = report["setup"], report["machine"], report["versions"]
    picture = setup["picture"]
    return (
        f"{setup['rounds']} rounds of {setup['frames']} frames,"
        f" JPEG {picture['width']}x{picture['height']} of {picture['mean_bytes'] / 1000:.1f} KB,"
        f" decoded at 1/{setup['dct_reduction']}; {machine['cpu']}, {machine['cores']} cores,"
        f" load before {machine['load_1m_before']:.2f}; headrace {versions['headrace']}"
        f" ({versions['commit'] or 'no commit known'}), torch {versions['torch']},"
        f" OpenCV {versions['opencv']}, Python {versions['python']}"
    )


def _paced(paced: AtPace) -> dict[str, Any]:
    found: dict[str, Any] = {"share_of": paced.share_of, "share": LOAD}
    found["frames_per_s"] = round(paced.frames_per_s, 1)
    found["frames"] = next(iter(paced.rounds[0].values())).frames
    for name in PACED:
        values = _values(paced.rounds, name)
        keeps_up = values["frames_per_s"]["median"] >= _KEEPS_UP * paced.frames_per_s
        found[name] = values | {"keeps_up": keeps_up}
    return found


def _values(rounds: Sequence[Round], name: str, *, plainly: bool = False) -> dict[str, Any]:
    """One contender's values over rounds; ``plainly`` gives medians alone."""
    spreads = {key: spread_of(rounds, name, value) for key, value in _VALUES.items()}
    if plainly:
        return {
            key: spread_json(each)["median"] for key, each in spreads.items() if each is not None
        }
    return {key: None if each is None else spread_json(each) for key, each in spreads.items()}


def _setup(scenario: Scenario) -> dict[str, Any]:
    sizes = [len(each) for each in scenario.pictures]
    return {
        "rounds": scenario.rounds,
        "frames": scenario.frames,
        "picture": {
            "type": "image/jpeg",
            "width": PICTURE_WH[0],
            "height": PICTURE_WH[1],
            "quality": scenario.quality,
            "different": len(sizes),
            "mean_bytes": round(scenario.mean_bytes),
            "min_bytes": min(sizes),
            "max_bytes": max(sizes),
        },
        "sample": [scenario.spec.width, scenario.spec.height],
        "decode": scenario.spec.decode,
        "dct_reduction": dct_reduction(check_image(scenario.pictures[0]), scenario.spec),
        "batch_size": scenario.batch_size,
        "decode_threads": scenario.decode_threads,
        "torch_threads": {
            WORKER: scenario.worker_torch_threads,
            CEILING: scenario.worker_torch_threads,
            PLAIN: 1,
            PLAIN_DEFAULT: scenario.machine.torch_threads,
        },
    }
