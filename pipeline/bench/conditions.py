"""What benchmarks' reports have in common: machine, versions, and how values are shown."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.box import SIMPLE_HEAD
from rich.table import Table

from pipeline.bench.rounds import Spread
from pipeline.bench.scenario import PICTURE_WH, Scenario
from pipeline.cores import cpu_model
from pipeline.opencv import cv2


def load_1m() -> float:
    """Processes that ran or waited to run over the last minute, on average."""
    return os.getloadavg()[0]


def resident_bytes() -> int:
    """Of this process, without what only its peak needed; 0 where the system doesn't say."""
    path = Path("/proc/self/statm")
    return int(path.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if path.exists() else 0


def table(title: str, *headings: str) -> Table:
    """An empty table whose first column has no heading; the others are numbers."""
    made = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    made.add_column("", no_wrap=True)
    for heading in headings:
        made.add_column(heading, justify="right", no_wrap=True)
    return made


def shown(value: Mapping[str, float] | None) -> str:
    """A spread in three figures or so: the rounds lie further apart than a fourth could tell."""
    if value is None:
        return "-"
    median = value["median"]
    digits = 2 if median < 10 else 1 if median < 100 else 0
    middle, least, most = (f"{value[key]:.{digits}f}" for key in ("median", "min", "max"))
    return f"{middle} ({least}–{most})"


def goal_shown(goal: float | None, sign: str) -> str:
    """A goal for a person, "" where there is none; ``sign`` is ``at least`` or ``at most``."""
    return "" if goal is None else f"{sign} {goal:g}"


def spread_json(value: Spread) -> dict[str, float]:
    """A spread as reports have it."""
    return {
        "median": round(value.median, 3),
        "min": round(value.least, 3),
        "max": round(value.most, 3),
    }


def conditions_json(
    cores: int, load_before: float, others: Mapping[str, str | None] | None = None
) -> dict[str, Any]:
    """What was measured on, what, and when; the last of what a report says. ``others`` are
    versions of what is measured beside the worker."""
    return {
        "machine": {
            "cpu": cpu_model(),
            "cores": cores,
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
            "load_1m_before": round(load_before, 2),
        },
        "versions": _versions() | dict(others or {}),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def setup_json(scenario: Scenario) -> dict[str, Any]:
    """What a worker alone was given."""
    return {
        "net": scenario.net,
        "device": scenario.device,
        "backend": scenario.backend,
        "slo_s": scenario.slo_s,
        "gpu": gpu_name(scenario.device),
        "sample": [scenario.spec.width, scenario.spec.height],
        "picture": [*PICTURE_WH, scenario.quality, round(scenario.mean_bytes)],
        "decode_threads": scenario.decode_threads,
        "torch_threads": scenario.worker_torch_threads,
    }


def measured_on(report: Mapping[str, Any]) -> str:
    """A report's machine, and the versions that all of them have, for a person."""
    machine, versions = report["machine"], report["versions"]
    return (
        f"{machine['cpu']}, {machine['cores']} cores, load before {machine['load_1m_before']:.2f};"
        f" headrace {versions['headrace']} ({versions['commit'] or 'no commit known'}),"
        f" torch {versions['torch']}, OpenCV {versions['opencv']}, Python {versions['python']}"
    )


def gpu_name(device: str) -> str | None:
    """What a CUDA device calls itself; None for the CPU."""
    return None if device == "cpu" else torch.cuda.get_device_name(device)


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
