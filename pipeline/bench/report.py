"""What was measured, as JSON and as tables, with what it was measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.box import SIMPLE_HEAD
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
from pipeline.bench.rounds import Round, Run, Spread, ratio, spread_of
from pipeline.bench.scenario import PICTURE_WH, Scenario
from pipeline.opencv import cv2
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
            "worker_over_plain": _json(ratio(rounds, WORKER, PLAIN)),
            "worker_over_ceiling": _json(ratio(rounds, WORKER, CEILING)),
            "worker_over_plain_default_threads": _json(ratio(rounds, WORKER, PLAIN_DEFAULT)),
            "ceiling_over_plain": _json(ratio(rounds, CEILING, PLAIN)),
        },
        "full_speed": {name: _values(rounds, name) for name in CONTENDERS},
        "paced": [_paced(each) for each in comparison.paced],
        "setup": _setup(scenario),
        "machine": _machine(scenario, load_before),
        "versions": _versions(),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "rounds": [{name: _values([each], name, plainly=True) for name in each} for each in rounds],
    }


def tables(report: Mapping[str, Any]) -> Group:
    """The report for a person, ratios first."""
    ratios = _table("How many times as fast: median of the rounds (least–most)", "ratio")
    for name, value in report["ratios"].items():
        ratios.add_row(name.replace("_", " "), _shown(value))
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


def load_1m() -> float:
    """Processes that ran or waited to run over the last minute, on average."""
    return os.getloadavg()[0]


def _values_table(title: str, rows: Mapping[str, Any]) -> Table:
    table = _table(title, *_COLUMNS.values())
    for name, values in rows.items():
        table.add_row(_TITLES[name], *(_shown(values[key]) for key in _COLUMNS))
    return table


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _shown(value: Mapping[str, float] | None) -> str:
    """Three figures or so: the rounds lie further apart than a fourth could tell."""
    if value is None:
        return "-"
    median = value["median"]
    digits = 2 if median < 10 else 1 if median < 100 else 0
    middle, least, most = (f"{value[key]:.{digits}f}" for key in ("median", "min", "max"))
    return f"{middle} ({least}–{most})"


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
    shown: dict[str, Any] = {"share_of": paced.share_of, "share": LOAD}
    shown["frames_per_s"] = round(paced.frames_per_s, 1)
    shown["frames"] = next(iter(paced.rounds[0].values())).frames
    for name in PACED:
        values = _values(paced.rounds, name)
        keeps_up = values["frames_per_s"]["median"] >= _KEEPS_UP * paced.frames_per_s
        shown[name] = values | {"keeps_up": keeps_up}
    return shown


def _values(rounds: Sequence[Round], name: str, *, plainly: bool = False) -> dict[str, Any]:
    """One contender's values over rounds; ``plainly`` gives medians alone."""
    spreads = {key: spread_of(rounds, name, value) for key, value in _VALUES.items()}
    if plainly:
        return {key: _json(each)["median"] for key, each in spreads.items() if each is not None}
    return {key: None if each is None else _json(each) for key, each in spreads.items()}


def _json(value: Spread) -> dict[str, float]:
    return {
        "median": round(value.median, 3),
        "min": round(value.least, 3),
        "max": round(value.most, 3),
    }


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


def _machine(scenario: Scenario, load_before: float) -> dict[str, Any]:
    return {
        "cpu": _cpu_model(),
        "cores": scenario.machine.cores,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load_1m_before": round(load_before, 2),
    }


def _versions() -> dict[str, str | None]:
    try:
        own = importlib.metadata.version("headrace")
    except importlib.metadata.PackageNotFoundError:
        own = "not installed"
    return {
        "headrace": own,
        "commit": _commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "opencv": cv2.__version__,
        "numpy": np.__version__,
    }


def _cpu_model() -> str:
    """Linux says it here; ``platform.processor`` is empty on most Linux machines."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or "unknown"


def _commit() -> str | None:
    """The checkout's commit, with ``-dirty`` if files differ from it; None from a wheel."""
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():
        return None
    try:
        said = subprocess.run(
            ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return said.stdout.strip()
