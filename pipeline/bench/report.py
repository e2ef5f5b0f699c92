"""What was measured, as JSON and as tables, with what it was measured on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from pipeline.bench.conditions import (
    conditions_json,
    goal_shown,
    gpu_name,
    measured_on,
    shown,
    spread_json,
    table,
)
from pipeline.bench.rounds import Round, Run, ratio, spread_of
from pipeline.bench.scenario import PICTURE_WH, Scenario
from pipeline.preprocess import check_image, dct_reduction

SCHEMA = "headrace.bench/2"

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

_RATIOS = (
    (WORKER, PLAIN),
    (WORKER, CEILING),
    (WORKER, PLAIN_DEFAULT),
    (CEILING, PLAIN),
)
_GOALS = {(WORKER, PLAIN): 5.0, (WORKER, CEILING): 0.8}
"""The project's own: at least so much."""

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


def make_report(
    measured: Sequence[tuple[Scenario, Comparison]], load_before: float
) -> dict[str, Any]:
    """Everything as one JSON object. For each size of pictures: ratios first, then medians with
    least and most, then how; then what all was measured on."""
    return {
        "schema": SCHEMA,
        "pictures": [_of_pictures(scenario, comparison) for scenario, comparison in measured],
        **conditions_json(measured[0][0].machine.cores, load_before),
    }


def _of_pictures(scenario: Scenario, comparison: Comparison) -> dict[str, Any]:
    rounds = comparison.full_speed
    return {
        "ratios": {
            f"{over}_over_{under}": spread_json(ratio(rounds, over, under))
            | {"goal": _GOALS.get((over, under))}
            for over, under in _RATIOS
        },
        "full_speed": {name: _values(rounds, name) for name in CONTENDERS},
        "paced": [_paced(each) for each in comparison.paced],
        "setup": _setup(scenario),
        "rounds": [{name: _values([each], name, plainly=True) for name in each} for each in rounds],
    }


def tables(report: Mapping[str, Any]) -> Group:
    """The report for a person, ratios first."""
    pictures = report["pictures"]
    sizes = [_size(each) for each in pictures]
    ratios = table("How many times as fast: median of the rounds (least–most)", *sizes, "goal")
    for name, value in pictures[0]["ratios"].items():
        goal = goal_shown(value["goal"], "at least")
        ratios.add_row(
            name.replace("_", " "), *(shown(each["ratios"][name]) for each in pictures), goal
        )
    parts = [part for each in pictures for part in _parts(each)]
    notes = [_LEGEND, _conditions(report)]
    return Group(ratios, *parts, *map(Text, notes))


def _parts(pictures: Mapping[str, Any]) -> list[Table | Text]:
    """What was measured on one size of pictures."""
    size = _size(pictures)
    at_full_speed = _values_table(f"{size}, at full speed", pictures["full_speed"])
    paced = [
        _values_table(
            f"{size}, at {each['frames_per_s']:.0f} frames/s,"
            f" half of the {each['share_of']}'s speed",
            {name: each[name] for name in PACED},
        )
        for each in pictures["paced"]
    ]
    behind = [
        f"{_TITLES[name]} falls behind at {each['frames_per_s']:.0f} frames/s: its ages grow for as"
        " long as the stream goes on."
        for each in pictures["paced"]
        for name in PACED
        if not each[name]["keeps_up"]
    ]
    return [at_full_speed, *paced, *map(Text, behind)]


def _size(pictures: Mapping[str, Any]) -> str:
    return f"{pictures['setup']['picture']['mean_bytes'] / 1000:.0f} KB"


def _values_table(title: str, rows: Mapping[str, Any]) -> Table:
    made = table(title, *_COLUMNS.values())
    for name, values in rows.items():
        made.add_row(_TITLES[name], *(shown(values[key]) for key in _COLUMNS))
    return made


def _conditions(report: Mapping[str, Any]) -> str:
    setup = report["pictures"][0]["setup"]
    picture = setup["picture"]
    return (
        f"{setup['net']} on {setup['gpu'] or setup['device']};"
        f" {setup['rounds']} rounds of {setup['frames']} frames,"
        f" JPEG {picture['width']}x{picture['height']},"
        f" decoded at 1/{setup['dct_reduction']}; {measured_on(report)}"
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
        "net": scenario.net,
        "device": scenario.device,
        "backend": scenario.backend,
        "gpu": gpu_name(scenario.device),
        "sample": [scenario.spec.width, scenario.spec.height],
        "decode": scenario.spec.decode,
        "dct_reduction": dct_reduction(check_image(scenario.pictures[0]), scenario.spec),
        "decode_threads": scenario.decode_threads,
        "torch_threads": {
            WORKER: scenario.worker_torch_threads,
            CEILING: scenario.worker_torch_threads,
            PLAIN: 1,
            PLAIN_DEFAULT: scenario.machine.torch_threads,
        },
    }
