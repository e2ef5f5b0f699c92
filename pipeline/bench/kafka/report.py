"""What was measured, as JSON and as tables, with what it was measured on."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.text import Text

from pipeline.bench.conditions import (
    conditions_json,
    goal_shown,
    measured_on,
    shown,
    spread_json,
    table,
)
from pipeline.bench.kafka.compare import Measured, Plan
from pipeline.bench.kafka.observed import WARM_SHARE
from pipeline.bench.kafka.peers import PEERS
from pipeline.bench.kafka.plan import (
    CEILING,
    CEILING_FULL,
    COMPARISONS,
    COMPETENT,
    HEADRACE,
    HEADRACE_FULL,
    LOAD,
    NAIVE,
    contenders,
    frames_of,
    paced,
)
from pipeline.bench.kafka.topics import STREAMS
from pipeline.bench.rounds import Round, Run, spread_of
from pipeline.bench.scenario import PICTURE_WH

SCHEMA = "headrace.bench.kafka/1"

_KEEPS_UP = 0.95
"""A system that finishes fewer than this share of a paced stream's frames a second falls behind.
Less than 1, as the last results come some latency after the last frame."""

_VALUES: Mapping[str, Callable[[Run], float | None]] = {
    "frames_per_s": lambda run: run.frames_per_s,
    "cpu_ms_per_frame": lambda run: run.cpu_ms_per_frame,
    "latency_p50_ms": lambda run: None if run.age_p50_s is None else 1000 * run.age_p50_s,
    "latency_p99_ms": lambda run: None if run.age_p99_s is None else 1000 * run.age_p99_s,
}
_COLUMNS = ("frames/s", "CPU ms/frame", "p50 ms", "p99 ms")
_TITLES = {
    HEADRACE: "headrace",
    HEADRACE_FULL: "headrace, full decode",
    COMPETENT: "competent loop",
    **{name: peer.title for name, peer in PEERS.items()},
    NAIVE: "naive loop",
    CEILING: "ceiling",
    CEILING_FULL: "ceiling, full decode",
}
_LEGEND = f"""\
naive loop      one record at a time: full decode, eager PyTorch, a commit each
competent loop  polls of 32, two decode threads, full decode, frozen TorchScript, a commit a poll
Quix Streams    one message at a time: full decode, frozen TorchScript, its own checkpoints
arroyo          two decode threads, batches of 32: full decode, frozen TorchScript
LitServe        over HTTP, as MLServer: batches of 32, 32 connections, asked by this process
ceiling         decode and forward alone, in memory: the worker's threads, decode and network
The first {WARM_SHARE:.0%} of each run aren't counted, nor at full speed the last. CPU is that of
the system's processes alone.
Latency is from `send` to the time at which the broker appended the result."""


def make_report(
    measured: Measured,
    plan: Plan,
    peers: Mapping[str, Path],
    is_own_broker: bool,
    load_before: float,
) -> dict[str, Any]:
    """Everything as one JSON object: ratios first, then medians with least and most, then how."""
    names = contenders(plan.peers)
    return {
        "schema": SCHEMA,
        "ratios": _ratios(measured),
        "full_speed": {name: _values(measured.full_speed, name) for name in names},
        "paced": _paced(measured, plan),
        "setup": _setup(plan, is_own_broker),
        **conditions_json(plan.auto.machine.cores, load_before, _versions(peers)),
        "rounds": {
            "full_speed": [_plainly(each) for each in measured.full_speed],
            "paced": [_plainly(each) for each in measured.paced],
        },
    }


def _versions(peers: Mapping[str, Path]) -> dict[str, str | None]:
    ours = {"kafka-python": importlib.metadata.version("kafka-python")}
    return ours | {
        peer.package: peer.version(peers[name]) if name in peers else None
        for name, peer in PEERS.items()
    }


def tables(report: Mapping[str, Any]) -> Group:
    """The report for a person, ratios first."""
    ratios = table("Ratios: median of the rounds (least–most)", "ratio", "goal")
    for name, value in report["ratios"].items():
        goal = goal_shown(value["goal"], "at most" if value["is_latency"] else "at least")
        ratios.add_row(name.replace("_", " "), shown(value), goal)
    full_speed = table("At full speed, with all frames on the topic beforehand", *_COLUMNS[:2])
    for name, values in report["full_speed"].items():
        full_speed.add_row(_TITLES[name], *_cells(values)[:2])
    at_pace = table("At half load", "half of", "sent/s", *_COLUMNS[1:])
    for each in report["paced"]:
        first = (_TITLES[each["share_of"]], f"{each['sent_per_s']:.0f}")
        at_pace.add_row(_TITLES[each["system"]], *first, *_cells(each)[1:])
    notes = [
        f"{_TITLES[each['system']]} falls behind at {each['sent_per_s']:.0f} frames/s: its latency"
        " grows for as long as the stream goes on."
        for each in report["paced"]
        if not each["keeps_up"]
    ]
    missing = [peer.title for name, peer in PEERS.items() if name not in report["full_speed"]]
    if missing:
        notes.append(
            f"Not measured: {', '.join(missing)}; `--peers all` installs them in build/peers."
        )
    return Group(ratios, full_speed, at_pace, *map(Text, [*notes, _LEGEND, _conditions(report)]))


def _cells(values: Mapping[str, Any]) -> list[str]:
    return [shown(values[key]) for key in _VALUES]


def _ratios(measured: Measured) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in COMPARISONS:
        value = each.of(measured.paced if each.is_latency else measured.full_speed)
        if value is not None:
            found[each.name] = spread_json(value) | {
                "goal": each.goal,
                "is_latency": each.is_latency,
                "is_reached": each.is_reached(value),
            }
    return found


def _paced(measured: Measured, plan: Plan) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for each in paced(plan.peers):
        fps, values = measured.paces[each.name], _values(measured.paced, each.name)
        found.append(
            {
                "system": each.system,
                "share_of": each.share_of,
                "share": LOAD,
                "sent_per_s": round(fps, 1),
                "frames": measured.paced[0][each.name].frames,
                "keeps_up": values["frames_per_s"]["median"] >= _KEEPS_UP * fps,
                **values,
            }
        )
    return found


def _values(rounds: Sequence[Round], name: str) -> dict[str, Any]:
    spreads = {key: spread_of(rounds, name, value) for key, value in _VALUES.items()}
    return {key: None if each is None else spread_json(each) for key, each in spreads.items()}


def _plainly(runs: Round) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for name, run in runs.items():
        values = {key: value(run) for key, value in _VALUES.items()}
        found[name] = {key: round(each, 3) for key, each in values.items() if each is not None}
    return found


def _setup(plan: Plan, is_own_broker: bool) -> dict[str, Any]:
    width, height = PICTURE_WH
    return {
        "rounds": plan.rounds,
        "frames": {name: frames_of(name, plan.frames) for name in contenders(plan.peers)},
        "paced_s": plan.paced_s,
        "streams": STREAMS,
        "picture": {
            "type": "image/jpeg",
            "width": width,
            "height": height,
            "quality": plan.auto.quality,
            "mean_bytes": round(plan.auto.mean_bytes),
        },
        "sample": [plan.auto.spec.width, plan.auto.spec.height],
        "decode_threads": plan.auto.decode_threads,
        "torch_threads": plan.auto.worker_torch_threads,
        "broker": "on the same machine, of compose/kafka" if is_own_broker else "given",
    }


def _conditions(report: Mapping[str, Any]) -> str:
    setup, versions = report["setup"], report["versions"]
    picture = setup["picture"]
    peers = "".join(
        f", {peer.title} {versions[peer.package]}"
        for peer in PEERS.values()
        if versions[peer.package]
    )
    return (
        f"{setup['rounds']} rounds of {setup['frames'][HEADRACE]} frames (slower systems fewer),"
        f" JPEG {picture['width']}x{picture['height']} of {picture['mean_bytes'] / 1000:.1f} KB,"
        f" {setup['streams']} streams; broker {setup['broker']}; {measured_on(report)},"
        f" kafka-python {versions['kafka-python']}{peers}"
    )
